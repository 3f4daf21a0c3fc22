// The least a front-end does, on a terminal: one reset of a signing password through the daemon's socket, with grpc-js.
//
//     node reset_client.mjs /run/gatewayd/api.sock attempt.txt path/to/protos
//
// Each view is printed. Each line typed answers the newest view: the PIN, the new password, or one of `confirm` (the
// last try), `more` (time) and `cancel`. Exit code 0: done; 1: not done; 2: unknown.
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [socket, kept, protos] = process.argv.slice(2);
if (!protos) {
  console.error("usage: node reset_client.mjs SOCKET KEPT PROTOS");
  process.exit(1);
}
const EXIT_CODES = { OUTCOME_DONE: 0, OUTCOME_NOT_DONE: 1, OUTCOME_UNKNOWN: 2 };
const files = ["reset_service", "gateway_service"].map((name) => `jpkireset/gateway/v1/${name}.proto`);
const definition = loader.loadSync(files, { includeDirs: [protos], keepCase: true, enums: String });
const api = grpc.loadPackageDefinition(definition).jpkireset.gateway.v1;
const gateway = new api.GatewayService(`unix:${socket}`, grpc.credentials.createInsecure());
const resets = new api.ResetService(`unix:${socket}`, grpc.credentials.createInsecure());

// Show a view: it has all that a page needs, so the page decides nothing. A secret never comes this way.
function draw(view) {
  const words = [
    `view ${view.number}: ${view.state} ${view.card_request}`,
    view.busy && "busy",
    "user_pin_tries_left" in view && `tries ${view.user_pin_tries_left}`,
    view.input_problem,
    view.in_doubt && "in doubt",
    view.outcome,
    view.reason,
    view.reminder_stage && `reminder ${view.reminder_stage}`,
  ];
  console.log(words.filter(Boolean).join(" "));
}

// What the citizen does. An input names the view it answers; the daemon drops it when there is a newer one.
let confirmed = false;
function answer(word, view) {
  confirmed ||= word === "confirm";
  if (word === "cancel") return { cancel: {} };
  if (word === "more") return { more_time: {} };
  if (word !== "confirm" && view.state === "STATE_ENTER_USER_PIN")
    return { user_pin: { user_pin: Buffer.from(word), last_try_confirmed: confirmed } };
  if (view.state === "STATE_ENTER_NEW_PASSWORD") return { new_password: { new_password: Buffer.from(word) } };
  return undefined;
}

// Show why no attempt could begin, until one could: a kiosk's idle screen.
async function untilReady() {
  const watch = gateway.watchStatus({}, new grpc.Metadata({ waitForReady: true }));
  watch.on("error", () => {}); // it is cancelled in the end
  for await (const { status } of watch) {
    console.log([status.ready ? "ready" : "not ready", ...(status.problems ?? [])].join(" "));
    if (status.ready) break;
  }
  watch.cancel();
}

// Ask for the outcome of an attempt whose stream is lost, until the daemon is there and has it.
async function whatBecame() {
  const [attempt_id, accepted] = readFileSync(kept, "utf8").split(" ");
  for (;;) {
    const { error, attempt } = await new Promise((resolve) =>
      gateway.getAttempt({ attempt_id }, { deadline: Date.now() + 5000 }, (error, answer) =>
        resolve({ error, attempt: answer?.attempt }),
      ),
    );
    if (error?.code === grpc.status.NOT_FOUND) {
      // Never begun; if it was, the daemon's journal is gone.
      console.log(`the attempt is not known${accepted ? " any more" : ""}`);
      return accepted ? "OUTCOME_UNKNOWN" : "OUTCOME_NOT_DONE";
    }
    if (attempt?.outcome) {
      console.log("the attempt:", attempt.outcome, attempt.reason ?? "REASON_UNSPECIFIED");
      return attempt.outcome;
    }
    await pause(500);
  }
}

// Go through one attempt, and return its outcome.
async function attempt() {
  const attempt_id = readFileSync(kept, "utf8");
  let view = {};
  const stream = resets.resetPassword();
  createInterface({ input: process.stdin }).on("line", (line) => {
    const input = answer(line.trim(), view);
    if (input) stream.write({ view_number: view.number, ...input });
  });
  stream.write({ start: { attempt_id, procedure: "PROCEDURE_SIGNING_PASSWORD", terms_accepted: true } });
  try {
    for await (const response of stream) {
      draw((view = response.view));
      // A refused attempt has no such view, and is not remembered.
      if (view.state === "STATE_ADMITTING") writeFileSync(kept, `${attempt_id} accepted`);
    }
  } catch (error) {
    console.log("the stream is lost:", grpc.status[error.code]);
    return whatBecame();
  }
  return view.outcome;
}

// Begin an attempt, or tell what became of the one that was under way when this program ended.
const underWay = existsSync(kept);
if (!underWay) {
  await untilReady();
  writeFileSync(kept, randomUUID()); // before the stream begins
}
const outcome = await (underWay ? whatBecame() : attempt());
unlinkSync(kept);
process.exit(EXIT_CODES[outcome]);
