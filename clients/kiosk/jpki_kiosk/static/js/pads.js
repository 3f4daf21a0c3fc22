// The two pads: <pin-pad> for the 4-digit PIN, <password-pad> for the new password. They live in the light DOM, which
// the server draws anew whenever anything changes; what was typed is in drafts of this module and outlives that.

import { Secret, isDigit, isEasyToGuess, isLetter } from "./secret.js";

const PIN_LENGTH = 4;
const SHORTEST = 6; // 署名用パスワード: 6-16 letters and digits, at least one of each (J-LIS)
const LONGEST = 16;
const SHOWN_MS = 5000;
const INERT_MS = 300; // a second tap of the same finger must not meet what came under it
const MOST_MISMATCHES = 2;
const GROUP = 4;

const drafts = {
  pin: new Secret(PIN_LENGTH),
  first: new Secret(LONGEST),
  second: new Secret(LONGEST),
  panel: "new",
  mismatches: 0,
  layout: false,
};

/** Forget everything that was typed. */
export function wipeDrafts() {
  drafts.pin.wipe();
  drafts.first.wipe();
  drafts.second.wipe();
  drafts.panel = "new";
  drafts.mismatches = 0;
  drafts.layout = false;
}

// Every key press, of glass or of a keyboard, comes here as one word: a character, "back" or "clear".
class Pad extends HTMLElement {
  #hiding = 0;
  #off = new AbortController();

  connectedCallback() {
    const options = { signal: this.#off.signal };
    this.addEventListener("click", (event) => this.#click(event), options);
    this.addEventListener("pointerdown", (event) => event.target.closest("[data-show]") && this.#show(event), options);
    this.addEventListener("contextmenu", (event) => event.preventDefault(), options);
    for (const end of ["pointerup", "pointercancel", "pointerleave", "blur"]) {
      window.addEventListener(end, () => this.hide(), options);
    }
    this.addEventListener("keydown", (event) => this.#hold(event), options);
    this.addEventListener("keyup", () => this.hide(), options);
    this.draw();
  }

  disconnectedCallback() {
    this.#off.abort();
    clearTimeout(this.#hiding);
  }

  /** Take a key of a physical keyboard; return whether it meant something. */
  type(event) {
    const key = keyOf(event);
    if (key === "Enter") {
      const button = this.primary;
      if (!button || button.disabled) return false;
      button.click();
      return true;
    }
    if (!key || !this.accepts(key)) return false;
    this.take(key);
    return true;
  }

  take(key) {
    const secret = this.secret;
    if (!secret) return;
    if (key === "back") secret.back();
    else if (key === "clear") secret.wipe();
    else if (this.accepts(key)) secret.add(key.charCodeAt(0));
    this.hide();
    this.draw();
  }

  hide() {
    clearTimeout(this.#hiding);
    for (const shown of this.querySelectorAll("[data-shown]")) {
      shown.replaceChildren();
      shown.hidden = true;
    }
  }

  /** Send what was typed, and forget it. */
  submit(secret) {
    const body = secret.copy();
    wipeDrafts();
    this.draw();
    const detail = { path: this.dataset.submit, body };
    this.dispatchEvent(new CustomEvent("secret", { bubbles: true, detail }));
  }

  #click(event) {
    const key = event.target.closest("[data-key]");
    if (key && !key.disabled) this.take(key.dataset.key);
    const button = event.target.closest("[data-confirm], [data-next], [data-retype], [data-layout]");
    if (button && !button.disabled) this.act(button);
  }

  #hold(event) {
    const button = event.target.closest("[data-show]");
    if (button && !event.repeat && (event.key === " " || event.key === "Enter")) {
      event.preventDefault();
      this.#show(event);
    }
  }

  #show(event) {
    const place = event.target.closest("[data-panel]") ?? this;
    const shown = place.querySelector("[data-shown]");
    if (!shown || !this.secret?.length) return;
    shown.replaceChildren(...this.spelled());
    shown.hidden = false;
    clearTimeout(this.#hiding);
    this.#hiding = setTimeout(() => this.hide(), SHOWN_MS);
  }

  // In groups of four; letters and digits differ in shape, not in colour: the style sheet underlines digits.
  spelled() {
    const marks = [];
    this.secret.each((code, at) => {
      const mark = document.createElement("span");
      mark.className = isDigit(code) ? "digit" : "letter";
      if (at && at % GROUP === 0) mark.classList.add("gap");
      mark.textContent = String.fromCharCode(code);
      marks.push(mark);
    });
    return marks;
  }

  // One dot for each character; their number in words for the ear.
  drawEntry(entry, secret) {
    entry.textContent = "●".repeat(secret.length);
    entry.setAttribute("aria-label", entry.dataset.countText.replace("{count}", String(secret.length)));
  }
}

class PinPad extends Pad {
  get secret() {
    return drafts.pin;
  }

  get primary() {
    return this.querySelector("[data-confirm]");
  }

  accepts(key) {
    return key === "back" || key === "clear" || (key.length === 1 && isDigit(key.charCodeAt(0)));
  }

  act(button) {
    if (button.matches("[data-confirm]") && drafts.pin.length === PIN_LENGTH) this.submit(drafts.pin);
  }

  draw() {
    for (const entry of this.querySelectorAll("[data-entry]")) this.drawEntry(entry, drafts.pin);
    for (const button of this.querySelectorAll("[data-confirm]")) button.disabled = drafts.pin.length !== PIN_LENGTH;
  }
}

// The entry that a part of the password's pad is about.
const secretOf = (part) => (part.closest("[data-panel]")?.dataset.panel === "again" ? drafts.second : drafts.first);

class PasswordPad extends Pad {
  get secret() {
    return { new: drafts.first, again: drafts.second, confirm: drafts.first }[drafts.panel];
  }

  get panel() {
    return this.querySelector(`[data-panel="${drafts.panel}"]`);
  }

  get primary() {
    return this.panel?.querySelector("[data-confirm], [data-next]");
  }

  accepts(key) {
    if (drafts.panel === "confirm") return false;
    if (key === "back" || key === "clear") return true;
    return key.length === 1 && (isDigit(key.charCodeAt(0)) || isLetter(key.charCodeAt(0)));
  }

  get rules() {
    const first = drafts.first;
    return {
      length: first.length >= SHORTEST && first.length <= LONGEST,
      letter: first.some(isLetter),
      digit: first.some(isDigit),
    };
  }

  get keepsRules() {
    return Object.values(this.rules).every(Boolean);
  }

  act(button) {
    if (button.matches("[data-layout]")) {
      drafts.layout = !drafts.layout;
      this.draw();
    } else if (button.matches("[data-retype]")) {
      this.#retype();
    } else if (button.matches("[data-confirm]")) {
      if (drafts.panel === "confirm" && this.keepsRules && drafts.first.equals(drafts.second)) this.submit(drafts.first);
    } else if (drafts.panel === "new" && this.keepsRules) {
      this.#go("again");
    } else if (drafts.panel === "again") {
      this.#compare();
    }
  }

  // The first time only the second entry goes; at the second time nobody knows which of the two was meant.
  #compare() {
    if (drafts.first.equals(drafts.second)) {
      this.#go("confirm");
      return;
    }
    drafts.second.wipe();
    drafts.mismatches += 1;
    if (drafts.mismatches >= MOST_MISMATCHES) {
      drafts.first.wipe();
      this.#go("new");
    } else {
      this.draw();
    }
    this.querySelectorAll("[data-mismatch]").forEach((mark) => (mark.hidden = false));
  }

  #retype() {
    drafts.first.wipe();
    drafts.second.wipe();
    this.#go("new");
  }

  #go(panel) {
    drafts.panel = panel;
    if (panel === "new") drafts.mismatches = 0;
    this.hide();
    this.draw();
    this.dispatchEvent(new CustomEvent("panel", { bubbles: true }));
  }

  draw() {
    for (const panel of this.querySelectorAll("[data-panel]")) panel.hidden = panel.dataset.panel !== drafts.panel;
    for (const entry of this.querySelectorAll("[data-entry]")) this.drawEntry(entry, secretOf(entry));
    const rules = this.rules;
    for (const mark of this.querySelectorAll("[data-rule]")) mark.dataset.met = String(rules[mark.dataset.rule]);
    for (const mark of this.querySelectorAll("[data-length]")) mark.textContent = String(secretOf(mark).length);
    for (const mark of this.querySelectorAll("[data-weak]")) mark.hidden = !(this.keepsRules && isEasyToGuess(drafts.first));
    for (const mark of this.querySelectorAll("[data-mismatch]")) mark.hidden = drafts.mismatches === 0 || drafts.second.length > 0;
    for (const button of this.querySelectorAll("[data-next]")) {
      button.disabled = secretOf(button) === drafts.second ? drafts.second.length < SHORTEST : !this.keepsRules;
    }
    for (const button of this.querySelectorAll("[data-confirm]")) button.disabled = drafts.panel !== "confirm" || !this.keepsRules;
    for (const button of this.querySelectorAll("[data-layout]")) button.setAttribute("aria-pressed", String(drafts.layout));
    this.classList.toggle("qwerty", drafts.layout);
  }
}

// Key of a physical keyboard as a pad's word. Letters are upper case, as the service counts them, and full-width forms
// are folded; while an input method composes, the key itself is asked.
function keyOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return "";
  if (event.key === "Enter") return "Enter";
  if (event.key === "Backspace") return "back";
  if (event.key === "Delete") return "clear";
  const key = event.key.normalize("NFKC");
  if (/^[a-zA-Z0-9]$/.test(key)) return key.toUpperCase();
  if (event.key !== "Process" && !event.isComposing) return "";
  return /^(?:Key([A-Z])|(?:Digit|Numpad)([0-9]))$/.exec(event.code)?.slice(1).find(Boolean) ?? "";
}

export function definePads() {
  customElements.define("pin-pad", PinPad);
  customElements.define("password-pad", PasswordPad);
}

export { INERT_MS };
