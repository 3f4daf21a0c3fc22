// What the citizen types: bytes in a buffer of fixed length, never a string that could not be wiped.

export class Secret {
  #bytes;
  #length = 0;

  /** @param {number} longest characters that fit */
  constructor(longest) {
    this.#bytes = new Uint8Array(longest);
  }

  get length() {
    return this.#length;
  }

  get longest() {
    return this.#bytes.length;
  }

  /** Add one ASCII character; what does not fit is left out. */
  add(code) {
    if (this.#length < this.#bytes.length) {
      this.#bytes[this.#length] = code;
      this.#length += 1;
    }
  }

  /** Take the last character away. */
  back() {
    if (this.#length > 0) {
      this.#length -= 1;
      this.#bytes[this.#length] = 0;
    }
  }

  wipe() {
    this.#bytes.fill(0);
    this.#length = 0;
  }

  /** A copy of the bytes; whoever takes it wipes it. */
  copy() {
    return this.#bytes.slice(0, this.#length);
  }

  equals(other) {
    const both = Math.min(this.#length, other.#length);
    return this.#length === other.#length && this.#bytes.subarray(0, both).every((byte, at) => byte === other.#bytes[at]);
  }

  some(test) {
    return this.#bytes.subarray(0, this.#length).some(test);
  }

  /** Call with every byte, for the one place that shows them while a finger holds the button. */
  each(take) {
    this.#bytes.subarray(0, this.#length).forEach(take);
  }
}

export const isDigit = (code) => code >= 0x30 && code <= 0x39;
export const isLetter = (code) => code >= 0x41 && code <= 0x5a;

// Easy to guess: the letters by themselves and the digits by themselves go on by one step (AAA, ABC, 321).
export function isEasyToGuess(secret) {
  return secret.length > 0 && [isDigit, isLetter].every((kind) => goesOn(secret, kind));
}

function goesOn(secret, kind) {
  let before = null;
  let step = null;
  let even = true;
  secret.each((code) => {
    if (!kind(code)) return;
    if (before !== null) {
      step ??= code - before;
      even &&= Math.abs(step) <= 1 && code - before === step;
    }
    before = code;
  });
  return even;
}
