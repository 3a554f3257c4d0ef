// A lead accepts a whole filtered list: they see how many and a sample, type the number, and can take
// all of it back. Sent in parts that are safe to send again.
import { call, explained, loggedOut, passing } from "../http.js";
import { newKey } from "./outbox.js";
import { make, percent, shortText } from "../show.js";
import { fill } from "../words/words.js";

const PART = 50; // as many as the API takes in one request
const TRIES = 4;
const PAUSE_MS = 1_000;

export class Batch {
  /** @type {string[]} */
  tasks = [];
  /** The batch that can be taken back. @type {{ id: string, count: number } | null} */
  last = null;
  busy = false;

  /**
   * @param {Ui.At} at
   * @param {Ui.Words} words
   * @param {object} on
   * @param {() => Api.Filter} on.filter what is chosen
   * @param {() => void} on.changed tasks are decided, or wait again
   */
  constructor(at, words, on) {
    this.at = at;
    this.words = words;
    this.on = on;
    at("batch-count").addEventListener("input", () => this.#showReady());
    at("batch-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.at("batch-send").disabled) this.#accept();
    });
    at("batch-dialog").addEventListener("cancel", (event) => this.busy && event.preventDefault());
  }

  /** Shows what would be accepted with the present filter. */
  async open() {
    const { only: _, ...wanted } = this.on.filter();
    const found = await call("POST", "/tasks/accept-batch/preview", wanted);
    const { words } = this;
    this.tasks = found.tasks;
    const n = this.tasks.length;
    this.at("batch-title").textContent = fill(words.batch_title, { n });
    const says = [
      n === 0 ? words.batch_none : found.more ? fill(words.batch_more, { n }) : words.batch_text,
    ];
    if (found.one_by_one.length > 0) {
      says.push(fill(words.batch_one_by_one, { names: found.one_by_one.join(", ") }));
    }
    this.at("batch-text").textContent = says.join(" ");
    this.at("batch-rows").replaceChildren(
      ...found.sample.map(({ item_id, text, label, confidence }) => {
        const first = make("td", "", shortText(text, 160));
        first.title = item_id;
        return make("tr", "", [first, make("td", "", label), make("td", "", percent(confidence))]);
      }),
    );
    this.at("batch-table").hidden = n === 0;
    this.at("batch-ask").hidden = n === 0;
    this.at("batch-send").hidden = n === 0;
    this.at("batch-ask-text").textContent = fill(words.batch_type, { n });
    this.at("batch-count").value = "";
    this.at("batch-says").textContent = "";
    this.#showReady();
    this.#showLast();
    this.at("batch-dialog").showModal();
    if (n > 0) this.at("batch-count").focus();
  }

  close() {
    if (!this.busy) this.at("batch-dialog").close();
  }

  async #accept() {
    const id = newKey();
    const all = this.tasks;
    let count = 0;
    this.tasks = [];
    this.at("batch-ask").hidden = true;
    this.at("batch-send").hidden = true;
    await this.#work(async () => {
      for (let start = 0; start < all.length; start += PART) {
        const tasks = all.slice(start, start + PART);
        const { accepted } = await patiently(() =>
          call("POST", "/tasks/accept-batch", { batch: id, tasks }),
        );
        count += accepted;
        this.last = { id, count };
        this.#say("batch_progress", { n: count, all: all.length });
      }
      this.#say(count < all.length ? "batch_partly" : "batch_done", {
        n: count,
        missed: all.length - count,
      });
    });
  }

  /** Takes the last batch back. */
  async undo() {
    if (this.last === null || this.busy) return;
    const { id } = this.last;
    let count = 0;
    await this.#work(async () => {
      for (let more = true; more; ) {
        const answer = await patiently(() => call("POST", `/tasks/accept-batch/${id}/undo`));
        count += answer.undone;
        more = answer.more;
        this.#say(answer.missed ? "batch_undone_partly" : "batch_undone", {
          n: count,
          missed: answer.missed,
        });
      }
      this.last = null;
    });
  }

  /** @param {() => Promise<void>} job */
  async #work(job) {
    this.busy = true;
    this.#showReady();
    this.#showLast();
    try {
      await job();
    } catch (error) {
      const said = this.at("batch-says").textContent;
      this.at("batch-says").textContent = `${said} ${explained(error, this.words)}`.trim();
    }
    this.busy = false;
    this.#showReady();
    this.#showLast();
    this.on.changed();
  }

  /**
   * @param {"batch_progress" | "batch_partly" | "batch_done" | "batch_undone" | "batch_undone_partly"} name
   * @param {Record<string, number>} values
   */
  #say(name, values) {
    this.at("batch-says").textContent = fill(this.words[name], values);
  }

  #showReady() {
    const right = this.at("batch-count").value.trim() === String(this.tasks.length);
    this.at("batch-send").disabled = this.busy || this.tasks.length === 0 || !right;
    this.at("batch-close").disabled = this.busy;
  }

  #showLast() {
    const undo = this.at("batch-undo");
    undo.hidden = this.last === null;
    undo.disabled = this.busy;
    if (this.last) undo.textContent = fill(this.words.batch_undo, { n: this.last.count });
  }
}

/**
 * Asks again while the same request may succeed later.
 * @template T
 * @param {() => Promise<T>} ask
 */
async function patiently(ask) {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await ask();
    } catch (error) {
      if (!passing(error) || loggedOut(error) || left === 1) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
