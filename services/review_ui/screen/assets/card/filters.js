// How does a reviewer choose what to look at? A dialog, and a chip for each part of the filter that
// takes it away again.
import { make, percent } from "../show.js";
import { fill } from "../words/words.js";

export class Filters {
  /** choices: where the filter is kept. */
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
    this.at("filter-min").value = min_confidence === undefined ? "" : shown(min_confidence);
    this.at("filter-max").value = max_confidence === undefined ? "" : shown(max_confidence);
    this.at("filter-q").value = q ?? "";
    this.at("filter-dialog").showModal();
  }

  show() {
    const { filter } = this.choices;
    const { words } = this;
    const said = {
      workflow: () => `${words.workflow}: ${filter.workflow}`,
      queue: () => `${words.queue_choice}: ${filter.queue}`,
      label: () => `${words.filter_label}: ${filter.label}`,
      min_confidence: () => fill(words.chip_min, { value: percent(filter.min_confidence) }),
      max_confidence: () => fill(words.chip_max, { value: percent(filter.max_confidence) }),
      q: () => `${words.filter_text}: “${filter.q}”`,
      only: () => words[`only_${filter.only}`],
    };
    const chips = Object.keys(filter).map((name) => {
      const text = said[name]();
      const chip = make("button", "rv-chip", text);
      chip.type = "button";
      chip.setAttribute("aria-label", fill(words.chip_clear, { what: text }));
      chip.addEventListener("click", () => this.choices.set({ [name]: "" }));
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
    const share = (name) => {
      const given = this.at(name).value;
      return given === "" ? "" : Number(given) / 100;
    };
    this.at("filter-dialog").close();
    this.choices.set({
      label: this.at("filter-label").value,
      min_confidence: share("filter-min"),
      max_confidence: share("filter-max"),
      q: this.at("filter-q").value.trim(),
    });
  }
}

function shown(share) {
  return String(Math.round(share * 1e4) / 100);
}
