// Text as large as there is room for. Whatever is marked [data-fit] has the sizes of its text multiplied by its own
// `--fit` (tokens.css): 1 is the size that is wished for, and where that does not fit, it is the largest that does.
// So a language needs no sizes of its own, however long its words are.

const LEAST = 25; // hundredths: every size is at its least by then
const CRAMMED = "data-fit-crammed"; // the style sheet's last resort
const HELD = "header, main, footer, button, .say, .do, .row, li, .alert, .entry-line, .message-line, .keyboard";

let shown = ""; // what the factors below belong to
const factors = new Map();

/** Fit everything visible. While `what` is shown, text only becomes smaller, so that it does not jump about. */
export function fitText(root, what) {
  if (what !== shown) factors.clear();
  shown = what;
  for (const box of [...root.querySelectorAll("[data-fit]")].reverse()) { // what is inside takes its room first
    if (!box.checkVisibility()) continue;
    const name = box.dataset.fit;
    box.removeAttribute(CRAMMED);
    factors.set(name, largest(box, factors.get(name) ?? 100));
  }
}

/** Forget what was found: the room, or the letters, are others now. */
export function fitAnew(root) {
  factors.clear();
  fitText(root, shown);
}

function largest(box, most) {
  const parts = [box, ...box.querySelectorAll(HELD)].filter((part) => part.closest("[data-fit]") === box);
  const fits = (factor) => {
    box.style.setProperty("--fit", String(factor / 100));
    return parts.every(holds);
  };
  if (fits(most)) return most;
  if (!fits(LEAST)) {
    box.setAttribute(CRAMMED, "");
    if (fits(most)) return most;
  }
  let [good, bad] = [LEAST, most];
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (fits(middle)) good = middle;
    else bad = middle;
  }
  fits(good);
  return good;
}

// What is not drawn has no size, and holds.
const holds = (part) => part.scrollWidth <= part.clientWidth + 1 && part.scrollHeight <= part.clientHeight + 1;
