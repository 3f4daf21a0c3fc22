// One call through grpc-js. `status`: prints the answer. `reset`: each line of standard input is a request, each line
// of standard output a response; the last line is how the stream ended.
import { createInterface } from "node:readline";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [socket, protos, call] = process.argv.slice(2);
const definition = loader.loadSync("jpkireset/gateway/v1/operator_service.proto", {
  includeDirs: [protos],
  enums: String,
  longs: Number,
  bytes: String,
});
const api = grpc.loadPackageDefinition(definition).jpkireset.gateway.v1;
const service = call === "status" ? api.GatewayService : api.ResetService;
const client = new service(`unix:${socket}`, grpc.credentials.createInsecure());

const say = (value) => process.stdout.write(`${JSON.stringify(value, canonical)}\n`);

// Timestamps and durations as canonical JSON writes them; protobufjs has plain numbers.
function canonical(key, value) {
  if (value === null || typeof value !== "object" || !("seconds" in value)) return value;
  const { seconds, nanos = 0 } = value;
  if (key === "timeLeft") return `${(seconds + nanos / 1e9).toFixed(9)}s`;
  return new Date(seconds * 1000 + nanos / 1e6).toISOString();
}

function end(error) {
  const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
  say({ end: { code: error.code, message: error.details, details: details?.toString("base64") ?? "" } });
  client.close();
  process.stdin.destroy();
}

if (call === "status") {
  client.getStatus({}, { deadline: Date.now() + 5000 }, (error, answer) => {
    if (!error) say(answer);
    end(error ?? { code: grpc.status.OK });
  });
} else {
  const stream = client.resetPassword();
  stream.on("data", say);
  stream.on("error", () => {}); // it comes as a status, too
  stream.on("status", end);
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => stream.write(JSON.parse(line)));
  lines.on("close", () => stream.end());
}
