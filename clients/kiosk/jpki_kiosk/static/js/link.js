// The way to the server: one stream of events in, presses and secrets out. Every request names the page's token, and
// what answers a screen names that screen's number.

const BEAT_MS = 2000;
const ANSWER_MS = 6000; // longer than the server gives the daemon
const AGAIN_MS = 1000;
const STEP_ASIDE_MS = 3000;

export class Link extends EventTarget {
  #token;
  #view = 0;
  #stream = null;
  #live = false; // the stream brings screens
  #left = false;

  constructor(token) {
    super();
    this.#token = token;
  }

  /** Number of the screen that is drawn. */
  set view(number) {
    this.#view = number;
  }

  open() {
    setInterval(() => this.#beat(), BEAT_MS);
    this.#beat();
    // A document that is loaded anew asks for its successor first: the stream is let go before, or it would be refused.
    window.addEventListener("beforeunload", () => this.#stepAside());
    window.addEventListener("pagehide", () => this.leave());
    this.#follow();
  }

  /** Let the stream go for good. */
  leave() {
    this.#left = true;
    this.#stream?.abort();
  }

  /** Whether the server is there at all. */
  async answers() {
    try {
      return (await fetch("/static/js/page.js", { method: "HEAD", signal: AbortSignal.timeout(ANSWER_MS) })).ok;
    } catch {
      return false;
    }
  }

  /** Send a press: whether it meant something, or null without an answer. */
  async press(name) {
    return this.#post(`/press/${encodeURIComponent(name)}`);
  }

  /** The same of a secret, which is wiped here. */
  async secret(path, body) {
    try {
      return await this.#post(path, { body, headers: { "Content-Type": "application/octet-stream" } });
    } finally {
      body.fill(0);
    }
  }

  async #post(path, { body, headers } = {}) {
    try {
      const answer = await fetch(path, {
        method: "POST",
        body,
        headers: { ...headers, "X-Page-Token": this.#token, "X-View": String(this.#view) },
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      if (answer.status === 403) this.#tell("over");
      return answer.ok && (await answer.json()).accepted;
    } catch {
      return null;
    }
  }

  async #beat() {
    if (this.#left) return;
    const heard = await this.#post("/beat");
    if (!this.#left) this.#tell(heard && this.#live ? "heard" : "lost");
  }

  #stepAside() {
    this.#stream?.abort();
    setTimeout(() => this.#left || this.#follow(), STEP_ASIDE_MS); // we are still here: nothing was loaded
  }

  async #follow() {
    const stream = new AbortController();
    this.#stream = stream;
    while (!stream.signal.aborted) {
      try {
        const headers = { "X-Page-Token": this.#token };
        const answer = await fetch("/events", { headers, signal: stream.signal, cache: "no-store" });
        if (answer.status === 403) {
          this.#tell("over");
          return;
        }
        await this.#read(answer.body);
      } catch {
        // told below: a stream ends only when the server does, or when somebody took our place
      }
      if (stream.signal.aborted) return;
      this.#live = false;
      this.#tell("lost");
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }

  async #read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) {
        const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event);
        this.#live = true;
        this.#tell(name, JSON.parse(data));
      }
    }
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
