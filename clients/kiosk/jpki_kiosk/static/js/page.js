// The page: draws what the server says, sends what is pressed, decides nothing.

import { fitAnew, fitText } from "./fit.js";
import { Link } from "./link.js";
import { INERT_MS, definePads, wipeDrafts } from "./pads.js";
import { playOnce, soundFor, unlockSound } from "./sound.js";

const WARN_S = 30;
const LOST_AFTER_MS = 3000;
const SLOW_MS = 1000; // for the answer to a press
const AGAIN_MS = 1000;
const IN_USE_MS = 5000;

// The one door for HTML into the page, named in the content security policy: only the server's own screens go through.
const html = trustedTypes.createPolicy("kiosk", { createHTML: (text) => text });
const screen = document.getElementById("screen");
const warning = document.getElementById("warning");
const lost = document.getElementById("lost");
const token = document.querySelector('meta[name="page-token"]').content;
const link = new Link(token);

let drawn = { name: screen.dataset.name, html: null, warning: null };
let endsAt = null; // by performance.now(): when the screen ends by itself
let canExtend = false;
let inertUntil = 0;
let lostTimer = 0;
let away = false; // the server, for too long
let late = false; // an answer to a press
const waits = new Set(); // timers of the presses that are not answered yet
const inFlight = new Set();
const pressedAt = new Map();

function draw(event) {
  const changed = event.name !== drawn.name;
  if (changed) wipeDrafts();
  link.view = event.view;
  document.documentElement.lang = event.lang;
  Object.assign(document.body.dataset, { size: event.size, theme: event.theme });
  endsAt = event.seconds_left === null ? null : performance.now() + event.seconds_left * 1000;
  canExtend = event.can_extend;
  if (event.warning !== drawn.warning) warning.innerHTML = html.createHTML(event.warning);
  if (changed || event.html !== drawn.html) {
    const focused = changed ? "" : selectorOf(document.activeElement);
    screen.dataset.name = event.name;
    screen.innerHTML = html.createHTML(event.html);
    fit();
    if (changed || drawn.html === null) rest(); // the document itself comes inert: it takes no press before this
    else focusOn(focused);
  }
  drawn = event;
  soundFor(`${event.name}/${event.stage}/${event.sound}`, event.sound, event.sound_every_s);
  watchTime();
}

// The frame says in its attributes what is shown, and how; of the password's page one part is visible.
function fit() {
  const frame = screen.querySelector(".frame");
  const part = screen.querySelector("[data-panel]:not([hidden])")?.dataset.panel;
  if (frame) fitText(document.body, [frame.lang, frame.className, part, ...Object.values(frame.dataset)].join(" "));
}

// A finger that was already on its way must not press what has just come under it.
function rest() {
  inertUntil = performance.now() + INERT_MS;
  updateInert();
  setTimeout(() => {
    updateInert();
    focusOn("");
  }, INERT_MS + 1);
}

function updateInert() {
  screen.inert = !warning.hidden || !lost.hidden || performance.now() < inertUntil;
}

function selectorOf(element) {
  for (const name of ["press", "key"]) {
    const value = element?.dataset?.[name];
    if (value && screen.contains(element)) return `[data-${name}="${CSS.escape(value)}"]`;
  }
  return "";
}

function focusOn(selector) {
  if (!warning.hidden) {
    warning.querySelector("[data-press]")?.focus();
    return;
  }
  const wanted = selector && screen.querySelector(selector);
  (wanted && wanted.checkVisibility() ? wanted : screen.querySelector("h1:not([hidden] *)"))?.focus({ preventScroll: true });
}

function watchTime() {
  const left = endsAt === null ? Infinity : Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
  const warn = canExtend && left <= WARN_S;
  for (const count of warning.querySelectorAll("[data-countdown]")) count.textContent = String(Math.min(left, WARN_S));
  if (warn === !warning.hidden) return;
  warning.hidden = !warn;
  fit();
  updateInert();
  if (warn) {
    for (const pad of pads()) pad.hide();
    playOnce("chime");
  }
  focusOn("");
}

async function press(name) {
  if (!token) {
    if (name === "retry") loadAnew();
    return;
  }
  const now = performance.now();
  if (inFlight.has(name) || now - (pressedAt.get(name) ?? -Infinity) < INERT_MS) return; // the same finger, twice
  pressedAt.set(name, now);
  inFlight.add(name);
  await heeded(link.press(name));
  inFlight.delete(name);
}

// A press that is not answered at once is seen to wait, and one that is not answered at all to be lost: a screen that
// nobody serves must not look as if it had listened.
async function heeded(request) {
  const timer = setTimeout(() => {
    late = true;
    updateLost();
  }, SLOW_MS);
  waits.add(timer);
  const answer = await request;
  endWaits([timer]);
  if (answer === null) serverIsAway();
}

function endWaits(timers) {
  for (const timer of timers) {
    clearTimeout(timer);
    waits.delete(timer);
  }
  late &&= waits.size > 0;
  updateLost();
}

const pads = () => screen.querySelectorAll("pin-pad, password-pad");

function heard() {
  clearTimeout(lostTimer);
  lostTimer = 0;
  away = false;
  updateLost();
}

// Without the server the screen is a picture of what was: what was typed goes, and nothing can be pressed.
function serverIsAway() {
  wipeDrafts();
  for (const pad of pads()) pad.draw();
  soundFor("", null, null);
  away = true;
  updateLost();
}

function updateLost() {
  const hidden = !away && !late;
  if (hidden !== lost.hidden) {
    lost.hidden = hidden;
    fit();
  }
  updateInert();
}

// A new document instead of this one, and nothing of this one left. The browser's own page for a server that is not
// there would have no way back, so the server is waited for.
async function loadAnew() {
  link.leave();
  wipeDrafts();
  soundFor("", null, null);
  screen.replaceChildren();
  warning.replaceChildren();
  while (!(await link.answers())) await new Promise((done) => setTimeout(done, AGAIN_MS));
  location.replace("/");
}

definePads();
link.addEventListener("screen", (event) => {
  heard();
  endWaits([...waits]); // whatever was pressed before belongs to another screen
  draw(event.detail);
});
link.addEventListener("wipe", loadAnew);
link.addEventListener("over", loadAnew);
link.addEventListener("lost", () => {
  lostTimer ||= setTimeout(serverIsAway, LOST_AFTER_MS);
});
link.addEventListener("heard", heard);

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-press]");
  if (button && !button.disabled && button.getAttribute("aria-disabled") !== "true") press(button.dataset.press);
});
document.addEventListener("click", unlockSound, { once: true });
document.addEventListener("mousedown", (event) => {
  if (event.target.closest("pin-pad button, password-pad button")) event.preventDefault(); // Enter stays 「確認」
});
document.addEventListener("secret", (event) => heeded(link.secret(event.detail.path, event.detail.body)));
document.addEventListener("panel", () => {
  fit();
  rest();
});
document.addEventListener("toggle", fit, true); // the languages are shown
window.addEventListener("resize", () => fitAnew(document.body));
document.fonts.addEventListener("loadingdone", () => fitAnew(document.body));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") event.preventDefault(); // nothing is closed or left by accident
  const [pad] = pads();
  const onButton = event.key === "Enter" && event.target.closest?.("button");
  if (pad && !screen.inert && !onButton && !event.repeat && pad.type(event)) event.preventDefault();
});
for (const kind of ["contextmenu", "dragstart", "selectstart"]) {
  document.addEventListener(kind, (event) => event.preventDefault());
}
window.addEventListener("pagehide", wipeDrafts);
setInterval(watchTime, 250);
fit();

if (token) link.open();
else {
  updateInert();
  setTimeout(loadAnew, IN_USE_MS);
}
