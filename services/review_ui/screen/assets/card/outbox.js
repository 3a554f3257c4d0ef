// Which decisions has the server not confirmed yet? Kept in the browser's storage until it has, one
// entry per key, so that neither an outage, an expired session nor a closed page loses any.
import { call } from "../http.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 2_000; // one small request: a server that has just come back bears that
const LOGIN_PAUSE_MS = 15_000; // only a login helps, perhaps in another tab
// A connection may fall silent without an end (another network, a firewall): it is given up soon,
// since the same key may be sent again. What is really slow gets longer from the third try on.
const PATIENCE_MS = 4_000;
const MORE_PATIENCE_MS = 10_000;

/** A random UUID; `crypto.randomUUID` is missing where the page is served over plain http. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40; // version 4
  bytes[8] = (bytes[8] & 0x3f) | 0x80; // RFC 9562 variant
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

export class Outbox {
  /**
   * owner: whose decisions; changed(): something to show; answered(entry, outcome);
   * refused(entry, error): the server will never take it.
   */
  constructor(owner, { changed, answered, refused }) {
    this.prefix = `hitl-unsent:${owner}:`;
    this.on = { changed, answered, refused };
    this.entries = this.#restore();
    this.sending = null; // the entry on its way
    this.trouble = null; // the error that holds everything up
    this.pause = FIRST_PAUSE_MS;
    this.timer = null;
    this.safe = true; // whether the browser keeps what is unsent when the page is closed
    addEventListener("online", () => this.flush());
    document.addEventListener("visibilitychange", () => document.hidden || this.flush());
  }

  get size() {
    return this.entries.length;
  }

  has(taskId) {
    return this.entries.some((entry) => entry.taskId === taskId);
  }

  add(entry) {
    this.entries.push(entry);
    try {
      localStorage.setItem(this.prefix + entry.key, JSON.stringify(entry));
    } catch {
      this.safe = false; // Storage full or forbidden: it is sent from memory.
    }
    this.on.changed();
    this.flush();
  }

  /** Takes back a decision that has not left; false when it has, or is just leaving. */
  remove(key) {
    const entry = this.entries.find((each) => each.key === key);
    if (entry === undefined || entry === this.sending || entry.tried) return false;
    this.#forget(entry);
    return true;
  }

  /** Resolves once the decision is confirmed or refused. */
  async settled(key) {
    this.flush();
    while (this.entries.some((entry) => entry.key === key)) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      if (this.trouble !== null) throw this.trouble;
    }
  }

  async flush() {
    clearTimeout(this.timer);
    if (this.sending !== null) return;
    while (this.entries.length > 0) {
      const entry = (this.sending = this.entries[0]);
      entry.tried = true; // from here on the server may know it
      try {
        const patience = this.pause < LONGEST_PAUSE_MS ? PATIENCE_MS : MORE_PATIENCE_MS;
        const path = `/tasks/${entry.taskId}/decision`;
        const outcome = await call("POST", path, entry.body, { patience });
        this.#relieved();
        this.#forget(entry);
        this.on.answered(entry, outcome);
      } catch (error) {
        if (error.temporary) {
          this.trouble = error;
          const pause = error.status === 401 ? LOGIN_PAUSE_MS : this.pause;
          this.timer = setTimeout(() => this.flush(), pause);
          this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
          break;
        }
        this.#relieved();
        this.#forget(entry);
        this.on.refused(entry, error);
      }
    }
    this.sending = null;
    this.on.changed();
  }

  #relieved() {
    this.trouble = null;
    this.pause = FIRST_PAUSE_MS;
  }

  #forget(entry) {
    this.entries = this.entries.filter((each) => each !== entry);
    localStorage.removeItem(this.prefix + entry.key);
    this.on.changed();
  }

  #restore() {
    const found = [];
    for (let index = 0; index < localStorage.length; index += 1) {
      const name = localStorage.key(index);
      if (!name.startsWith(this.prefix)) continue;
      try {
        found.push({ ...JSON.parse(localStorage.getItem(name)), tried: true });
      } catch {
        localStorage.removeItem(name);
      }
    }
    return found.sort((one, other) => one.at - other.at);
  }
}
