// What waits for a lead? How many disputes and flags, the flagged items with their reasons, and a way
// to take one up.
import { call } from "../http.js";
import { make, shortText, span } from "../show.js";
import { fill } from "../words/words.js";

const EVERY_MS = 20_000;

export class Leads {
  /** filter(): what is chosen; takeUp(task id); said(text): for the reader. */
  constructor(at, words, { filter, takeUp, said }) {
    this.at = at;
    this.words = words;
    this.on = { filter, takeUp, said };
  }

  start() {
    this.at("leads").hidden = false;
    this.load();
    setInterval(() => document.hidden || this.load(), EVERY_MS);
  }

  async load() {
    const { workflow } = this.on.filter();
    const query = workflow ? `?workflow=${encodeURIComponent(workflow)}` : "";
    const found = await call("GET", `/disputes${query}`).catch(() => null);
    if (found === null) return; // the banner says that the server is away
    const { disputed, flagged } = found;
    this.at("leads-count").textContent = fill(this.words.leads_count, { disputed, flagged });
    this.at("leads-disputed").textContent = fill(this.words.leads_disputed, { n: disputed });
    this.at("leads-flagged").textContent = fill(this.words.leads_flagged, { n: flagged });
    this.at("leads-none").hidden = found.flags.length > 0;
    this.at("leads-flags").replaceChildren(...found.flags.map((flag) => this.#row(flag)));
  }

  /** Who has what in hand, read when the dialog is opened: what nobody sees need not be fresh. */
  async #loadHolders() {
    const found = await call("GET", "/holders").catch(() => null);
    const holders = found?.holders ?? [];
    this.at("holders-title").hidden = holders.length === 0;
    this.at("holders").replaceChildren(...holders.map((holder) => this.#holder(holder)));
  }

  #holder({ reviewer, tasks }) {
    const back = make("button", "rv-button", this.words.give_back);
    back.type = "button";
    back.setAttribute("aria-label", `${this.words.give_back}: ${reviewer}`);
    back.addEventListener("click", async () => {
      try {
        const { released } = await call("POST", "/holders/release", { reviewer });
        this.on.said(fill(this.words.given_back, { n: released }));
      } catch (error) {
        this.on.said(error.message);
      }
      await this.#loadHolders();
    });
    return make("li", "", [span(fill(this.words.holder, { name: reviewer, n: tasks })), back]);
  }

  async open() {
    await Promise.all([this.load(), this.#loadHolders()]);
    this.at("leads-dialog").showModal();
  }

  close() {
    this.at("leads-dialog").close();
  }

  #row(flag) {
    const why = [flag.reason, flag.note].filter(Boolean).join(" · ");
    const take = make("button", "rv-button", this.words.take_up);
    take.type = "button";
    take.setAttribute("aria-label", `${this.words.take_up}: #${shortText(flag.item_id, 40)}`);
    take.addEventListener("click", () => {
      this.close();
      this.on.takeUp(flag.task_id);
    });
    const said = make("div", "", [
      make("strong", "", why || "–"),
      make("p", "", shortText(flag.text, 200)),
      span(`#${shortText(flag.item_id, 40)}`, "rv-id"),
    ]);
    return make("li", "", [said, take]);
  }
}
