// How a task looks on the card. Everything of an item is text, never markup.
import { Attention } from "./attention.js";
import { Highlights } from "./highlights.js";
import { showAnswers } from "./answers.js";
import { serverTime } from "../http.js";
import { make, makeButton, percent, seconds, shortText, span } from "../show.js";
import { fill } from "../words/words.js";

const LEASE_WARNING_MS = 30_000;

export class Card {
  /** @type {Ui.Task | undefined} */
  task = undefined;
  attention = new Attention();

  /**
   * @param {HTMLElement} root
   * @param {Ui.At} at
   * @param {Ui.Words} words
   * @param {Api.Me["workflows"]} workflows
   */
  constructor(root, at, words, workflows) {
    this.root = root;
    this.at = at;
    this.words = words;
    this.workflows = workflows;
    this.highlights = new Highlights(at, words);
    setInterval(() => this.showLease(), 1_000);
  }

  /**
   * Shows `task`, or that there is none, at all or that matches a filter.
   * @param {Ui.Task | undefined} task
   * @param {boolean} loading
   * @param {boolean} filtered
   * @param {number} forOthers so many wait for somebody else, as their second answer
   */
  show(task, loading, filtered, forOthers) {
    this.root.dataset.state = task ? "task" : loading ? "loading" : "empty";
    this.at("card").hidden = !task;
    this.at("empty").hidden = Boolean(task);
    if (!task) {
      const { done_title, done_text, filtered_title, filtered_text } = this.words;
      const [title, text] = filtered ? [filtered_title, filtered_text] : [done_title, done_text];
      this.at("empty-title").textContent = loading ? this.words.loading : title;
      const said = filtered || forOthers === 0 ? [text] : [];
      if (forOthers > 0) said.push(fill(this.words.for_others_text, { n: forOthers }));
      this.at("empty-text").textContent = loading ? "" : said.join(" ");
      this.at("empty-clear").hidden = loading || !filtered;
      this.task = undefined;
      return;
    }
    if (task === this.task) return;
    this.task = task;
    this.attention.begin();
    this.#fill(task);
  }

  /** How long the task is still held, extended while the page is open. */
  showLease() {
    if (this.task === undefined) return;
    const left = (this.task.heldUntil ?? 0) - performance.now();
    const lease = this.at("lease");
    lease.textContent =
      left > 0 ? fill(this.words.lease, { time: this.#time(left / 1_000) }) : this.words.lease_over;
    lease.title = this.words.lease_hint;
    lease.classList.toggle("rv-late", left < LEASE_WARNING_MS);
  }

  /** @param {Ui.Task} task */
  #fill(task) {
    this.at("item").textContent = `#${shortText(task.item_id, 40)}`;
    this.at("item").title = task.item_id;
    this.highlights.draw(task);
    this.at("text").scrollTop = 0;
    const { top } = this.at("card").getBoundingClientRect();
    if (top < 0) scrollBy(0, top); // who read a long text to its end begins the next at its start
    this.at("suggest").replaceChildren(...this.#suggestion(task));
    this.at("badges").replaceChildren(...this.#badges(task));
    /** @type {Readonly<Record<string, string>>} */
    const words = this.words;
    const reasons = task.reasons.map(({ code, text }) => words[`reason_${code}`] ?? text);
    this.at("why").replaceChildren(...reasons.map((reason) => make("li", "", reason)));
    showAnswers(this.at, this.words, task);
    this.#metadata(task);
    this.at("labels").replaceChildren(...task.labels.map((label, at) => this.#label(task, label, at)));
    this.at("accept-button").hidden = task.suggestion === null;
    this.at("accept").textContent = task.suggestion
      ? fill(this.words.accept_label, { label: task.suggestion.label })
      : this.words.accept;
    this.at("note").value = task.draft ?? "";
    this.at("note").hidden = !task.draft;
    const guideline = this.workflows.find((each) => each.name === task.workflow)?.guideline.trim();
    this.at("guideline").textContent = guideline ?? "";
    this.at("guide").hidden = !guideline;
    this.showLease();
  }

  /** @param {Ui.Task} task */
  #metadata(task) {
    this.at("details").hidden = task.details.length === 0;
    this.at("metadata").replaceChildren(
      // Text from the server: JSON.parse rounds integers above 2^53.
      ...task.details.map(([name, shown]) => {
        const head = make("th", "", name);
        head.scope = "row";
        return make("tr", "", [head, make("td", "", shown)]);
      }),
    );
  }

  /** @param {Ui.Task} task */
  #suggestion(task) {
    if (task.suggestion === null) return [span(this.words.blind_label)];
    const { label, confidence } = task.suggestion;
    return [
      span(`${this.words.ai_suggests} `),
      make("strong", "", label),
      span(` ${percent(confidence)}`),
    ];
  }

  /** @param {Ui.Task} task */
  #badges(task) {
    const found = [];
    if (task.blind) found.push(make("span", "rv-badge rv-info", this.words.blind));
    if (task.priority) {
      found.push(make("span", "rv-badge", fill(this.words.priority, { value: task.priority })));
    }
    if (task.due_at) {
      const left = (Date.parse(task.due_at) - serverTime()) / 1_000;
      const words = left >= 0 ? this.words.due_in : this.words.due_over;
      const text = fill(words, { time: this.#time(Math.abs(left)) });
      found.push(make("span", left < 600 ? "rv-badge rv-late" : "rv-badge", text));
    }
    if (task.truncated) found.push(make("span", "rv-badge rv-late", this.words.truncated));
    return found;
  }

  /**
   * @param {Ui.Task} task
   * @param {string} label
   * @param {number} index
   */
  #label(task, label, index) {
    const share = task.suggestion?.distribution[label];
    const parts = [span(label, "rv-name")];
    if (index < 9) parts.unshift(make("kbd", "", String(index + 1)));
    if (share !== undefined) parts.push(span(percent(share), "rv-share"));
    const button = makeButton("rv-button rv-label", parts);
    button.dataset.act = "label";
    button.dataset.index = String(index);
    if (index < 9) button.setAttribute("aria-keyshortcuts", String(index + 1));
    if (label === task.suggestion?.label) button.classList.add("rv-chosen");
    if (share !== undefined) {
      const bar = make("span", "rv-bar");
      bar.style.width = `${share * 100}%`;
      button.append(bar);
    }
    return button;
  }

  /** @param {number} value seconds */
  #time(value) {
    return seconds(value, this.words.days);
  }
}
