// A reviewer chooses what to look at: a dialog, and a chip for each part of the filter that takes it
// away again.
import { perCent } from "./choices.js";
import { makeButton, percent } from "../show.js";
import { fill } from "../words/words.js";

export class Filters {
  /**
   * @param {Ui.At} at
   * @param {Ui.Words} words
   * @param {Api.Me} me
   * @param {import("./choices.js").Choices} choices where the filter is kept
   */
  constructor(at, words, me, choices) {
    this.at = at;
    this.words = words;
    this.me = me;
    this.choices = choices;
    at("filter-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#use();
    });
    this.show();
  }

  open() {
    const { label, min_confidence, max_confidence, q } = this.choices.filter;
    const options = this.#labels().map((each) => new Option(each, each));
    if (label && !options.some((each) => each.value === label)) options.push(new Option(label, label));
    this.at("filter-label").replaceChildren(new Option(this.words.label_all, ""), ...options);
    this.at("filter-label").value = label ?? "";
    this.at("filter-min").value = shown(min_confidence);
    this.at("filter-max").value = shown(max_confidence);
    this.at("filter-q").value = q ?? "";
    this.at("filter-dialog").showModal();
  }

  show() {
    const { filter } = this.choices;
    const { words } = this;
    /** @type {Record<keyof Api.Filter, () => string>} */
    const said = {
      workflow: () => `${words.workflow}: ${filter.workflow}`,
      queue: () => `${words.queue_choice}: ${filter.queue}`,
      label: () => `${words.filter_label}: ${filter.label}`,
      min_confidence: () => fill(words.chip_min, { value: percent(filter.min_confidence ?? 0) }),
      max_confidence: () => fill(words.chip_max, { value: percent(filter.max_confidence ?? 0) }),
      q: () => `${words.filter_text}: “${filter.q}”`,
      only: () => (filter.only === "disputed" ? words.only_disputed : words.only_flagged),
    };
    const names = /** @type {(keyof Api.Filter)[]} */ (Object.keys(filter));
    const chips = names.map((name) => {
      const text = said[name]();
      const chip = makeButton("rv-chip", text, () => this.choices.set({ [name]: "" }));
      chip.setAttribute("aria-label", fill(words.chip_clear, { what: text }));
      return chip;
    });
    this.at("chips").replaceChildren(...chips);
    this.at("filter-clear").hidden = chips.length === 0;
    this.at("filter-hint").hidden = !this.choices.narrows;
  }

  #labels() {
    const { workflow } = this.choices.filter;
    const flows = this.me.workflows.filter((each) => !workflow || each.name === workflow);
    return [...new Set(flows.flatMap((each) => each.labels))];
  }

  #use() {
    /** @param {HTMLInputElement} input */
    const share = ({ value }) => (value === "" ? "" : Number(value) / 100);
    this.at("filter-dialog").close();
    this.choices.set({
      label: this.at("filter-label").value,
      min_confidence: share(this.at("filter-min")),
      max_confidence: share(this.at("filter-max")),
      q: this.at("filter-q").value.trim(),
    });
  }
}

/** @param {number | null | undefined} share */
function shown(share) {
  return typeof share === "number" ? perCent(share) : "";
}
