// What waits for a lead: how many disputes and flags, the flagged items with their reasons, and a way
// to take one up.
import { call, explained } from "../http.js";
import { make, makeButton, shortText, span } from "../show.js";
import { fill } from "../words/words.js";

const EVERY_MS = 20_000;

export class Leads {
  /**
   * @param {Ui.At} at
   * @param {Ui.Words} words
   * @param {object} on
   * @param {() => Api.Filter} on.filter what is chosen
   * @param {(taskId: string) => void} on.takeUp
   * @param {(text: string) => void} on.said for the reader
   */
  constructor(at, words, on) {
    this.at = at;
    this.words = words;
    this.on = on;
  }

  start() {
    this.at("leads").hidden = false;
    this.load();
    setInterval(() => document.hidden || this.load(), EVERY_MS);
  }

  async load() {
    const { workflow } = this.on.filter();
    const query = workflow ? `workflow=${encodeURIComponent(workflow)}` : "";
    const found = await call("GET", `/disputes?${query}`).catch(() => null);
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

  /** @param {Api.Holder} holder */
  #holder({ reviewer, tasks }) {
    const back = makeButton("rv-button", this.words.give_back, async () => {
      try {
        const { released } = await call("POST", "/holders/release", { reviewer });
        this.on.said(fill(this.words.given_back, { n: released }));
      } catch (error) {
        this.on.said(explained(error, this.words));
      }
      await this.#loadHolders();
    });
    back.setAttribute("aria-label", `${this.words.give_back}: ${reviewer}`);
    return make("li", "", [span(fill(this.words.holder, { name: reviewer, n: tasks })), back]);
  }

  async open() {
    await Promise.all([this.load(), this.#loadHolders()]);
    this.at("leads-dialog").showModal();
  }

  close() {
    this.at("leads-dialog").close();
  }

  /** @param {Api.Flag} flag */
  #row(flag) {
    const why = [flag.reason, flag.note].filter(Boolean).join(" · ");
    const item = `#${shortText(flag.item_id, 40)}`;
    const take = makeButton("rv-button", this.words.take_up, () => {
      this.close();
      this.on.takeUp(flag.task_id);
    });
    take.setAttribute("aria-label", `${this.words.take_up}: ${item}`);
    const said = make("div", "", [
      make("strong", "", why || "–"),
      make("p", "", shortText(flag.text, 200)),
      span(item, "rv-id"),
    ]);
    return make("li", "", [said, take]);
  }
}
