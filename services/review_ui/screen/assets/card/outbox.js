// The decisions that the server has not confirmed yet: kept in the browser's storage until it has, one
// entry per key, so that neither an outage, an expired session nor a closed page loses any.
import { call, loggedOut, passing } from "../http.js";

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
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40; // version 4
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80; // RFC 9562 variant
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

export class Outbox {
  /** The entry on its way. @type {Ui.Entry | null} */
  sending = null;
  /** The error that holds everything up. @type {unknown} */
  trouble = null;
  pause = FIRST_PAUSE_MS;
  /** @type {Ui.Timer | undefined} */
  timer = undefined;
  /** Whether the browser keeps what is unsent when the page is closed. */
  safe = true;

  /**
   * @param {string} owner whose decisions
   * @param {object} on
   * @param {() => void} on.changed something to show
   * @param {(entry: Ui.Entry, outcome: Api.Outcome) => void} on.answered
   * @param {(entry: Ui.Entry, error: unknown) => void} on.refused the server will never take it
   */
  constructor(owner, on) {
    this.prefix = `hitl-unsent:${owner}:`;
    this.on = on;
    this.entries = this.#restore();
    addEventListener("online", () => this.flush());
    document.addEventListener("visibilitychange", () => document.hidden || this.flush());
  }

  get size() {
    return this.entries.length;
  }

  /** @param {Ui.Entry} entry */
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

  /**
   * Takes back a decision that has not left; false when it has, or is just leaving.
   * @param {string} key
   */
  remove(key) {
    const entry = this.entries.find((each) => each.key === key);
    if (entry === undefined || entry === this.sending || entry.tried) return false;
    this.#forget(entry);
    return true;
  }

  /**
   * Resolves once the decision is confirmed or refused.
   * @param {string} key
   */
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
    try {
      let settled = true;
      for (let entry = this.entries[0]; settled && entry; entry = this.entries[0]) {
        this.sending = entry;
        settled = await this.#send(entry);
      }
    } finally {
      this.sending = null;
      this.on.changed();
    }
  }

  /**
   * Whether the server has taken or refused it; otherwise it is tried again in a while.
   * @param {Ui.Entry} entry
   */
  async #send(entry) {
    entry.tried = true; // from here on the server may know it
    let outcome;
    try {
      const patience = this.pause < LONGEST_PAUSE_MS ? PATIENCE_MS : MORE_PATIENCE_MS;
      outcome = await call("POST", `/tasks/${entry.taskId}/decision`, entry.body, { patience });
    } catch (error) {
      if (passing(error)) {
        this.trouble = error;
        const pause = loggedOut(error) ? LOGIN_PAUSE_MS : this.pause;
        this.timer = setTimeout(() => this.flush(), pause);
        this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
        return false;
      }
      this.#relieved();
      this.#forget(entry);
      this.on.refused(entry, error);
      return true;
    }
    this.#relieved();
    this.#forget(entry);
    this.on.answered(entry, outcome);
    return true;
  }

  #relieved() {
    this.trouble = null;
    this.pause = FIRST_PAUSE_MS;
  }

  /** @param {Ui.Entry} entry */
  #forget(entry) {
    this.entries = this.entries.filter((each) => each !== entry);
    try {
      localStorage.removeItem(this.prefix + entry.key);
    } catch {
      // Forbidden: then it was never there.
    }
    this.on.changed();
  }

  #restore() {
    /** @type {Ui.Entry[]} */
    const found = [];
    try {
      const names = Object.keys(localStorage).filter((name) => name.startsWith(this.prefix));
      for (const name of names) {
        const entry = parsed(localStorage.getItem(name));
        if (entry === null) localStorage.removeItem(name);
        else found.push({ ...entry, tried: true });
      }
    } catch {
      this.safe = false; // forbidden
    }
    return found.sort((one, other) => one.at - other.at);
  }
}

/**
 * @param {string | null} text
 * @returns {Ui.Entry | null}
 */
function parsed(text) {
  try {
    return JSON.parse(text ?? "null");
  } catch {
    return null;
  }
}
