// Sounds, made here: pure tones, whose only frequency is the fundamental and far below 2.5 kHz (JIS S 0013, S 0014).

const TONES = {
  chime: [[784, 0.25], [659, 0.4]],
  attention: [[988, 0.2], [0, 0.1], [988, 0.3]],
  staff: [[784, 0.3], [1047, 0.3], [784, 0.3], [1047, 0.5]],
};
const LOUDNESS = 0.4;
const EDGE_S = 0.02; // a tone that begins at once clicks

let context = null;
let repeating = 0;
let playing = "";

/** Browsers let a page sound only after a touch. */
export function unlockSound() {
  try {
    context ??= new AudioContext();
  } catch {
    // a machine without sound: the same message stands on the screen
  }
}

function play(name) {
  unlockSound();
  if (context?.state !== "running") {
    context?.resume().catch(() => {}); // what could not sound now is not saved up
    return;
  }
  let at = context.currentTime + EDGE_S;
  for (const [frequency, length] of TONES[name] ?? []) {
    if (frequency) tone(frequency, at, length);
    at += length;
  }
}

function tone(frequency, at, length) {
  const source = new OscillatorNode(context, { frequency, type: "sine" });
  const level = new GainNode(context, { gain: 0 });
  level.gain.setValueAtTime(0, at);
  level.gain.linearRampToValueAtTime(LOUDNESS, at + EDGE_S);
  level.gain.setValueAtTime(LOUDNESS, at + length - EDGE_S);
  level.gain.linearRampToValueAtTime(0, at + length);
  source.connect(level).connect(context.destination);
  source.start(at);
  source.stop(at + length);
}

/** Play what belongs to a screen once, or again and again; the same once more is not begun anew. */
export function soundFor(key, name, everySeconds) {
  if (key === playing) return;
  playing = key;
  clearInterval(repeating);
  document.body.dataset.sound = name ?? "";
  if (!name) return;
  play(name);
  if (everySeconds) repeating = setInterval(() => play(name), everySeconds * 1000);
}

/** Play one sound once, beside the screen's. */
export { play as playOnce };
