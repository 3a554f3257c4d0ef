// How a task looks on the card. Everything of an item is text, never markup.
import { Attention } from "./attention.js";
import { Highlights } from "./highlights.js";
import { showAnswers } from "./answers.js";
import { same } from "./predicted.js";
import { serverTime } from "../http.js";
import { make, percent, seconds, shortText, span } from "../show.js";
import { fill } from "../words/words.js";

const LEASE_WARNING_MS = 30_000;
const NAMED = 60; // characters of an answer on a button

export class Card {
  /** @type {Ui.Task | undefined} */
  task = undefined;
  /** Whether the reviewer has begun to answer it. */
  begun = false;
  attention = new Attention();

  /**
   * @param {HTMLElement} root
   * @param {Ui.At} at
   * @param {Ui.Words} words
   * @param {Api.Me["workflows"]} workflows
   * @param {import("./kinds/kinds.js").Kinds} kinds
   */
  constructor(root, at, words, workflows, kinds) {
    this.root = root;
    this.at = at;
    this.words = words;
    this.workflows = workflows;
    this.kinds = kinds;
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
    if (task !== this.task && this.task && this.begun) this.task.begun = this.kind.answer;
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

  /** What shows the answer of the task. */
  get kind() {
    return this.kinds.of(this.task?.kind ?? "label");
  }

  /** What Enter would send; null where that is no answer yet: `why` not. */
  get given() {
    const { kind } = this;
    const { answer } = kind;
    const why = kind.wrong();
    if (answer === null || why !== null) return { why: why ?? "", answer: null };
    const accepted = same(answer, this.task?.prediction?.answer);
    return { answer, brief: kind.brief(answer), accepted };
  }

  /** The answer has been worked on. */
  changed() {
    this.begun = true;
    this.showSubmit();
  }

  /** Puts another answer on the card, to go on from. @param {Ui.Answer} answer */
  use(answer) {
    if (this.task === undefined) return;
    this.kind.show(this.task, answer);
    this.changed();
  }

  /** The first button says what it sends. */
  showSubmit() {
    const { accept_label, send_label, accept } = this.words;
    const { given, task } = this;
    const brief = given.answer === null ? "" : shortText(given.brief, NAMED);
    const text = given.accepted || task?.kind === "label" ? accept_label : send_label;
    this.at("accept").textContent = brief ? fill(text, { label: brief }) : accept;
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
    this.at("badges").replaceChildren(...this.#badges(task));
    /** @type {Readonly<Record<string, string>>} */
    const words = this.words;
    const reasons = task.reasons.map(({ code, text }) => words[`reason_${code}`] ?? text);
    this.at("why").replaceChildren(...reasons.map((reason) => make("li", "", reason)));
    showAnswers(this.at, this.words, task);
    this.#metadata(task);
    this.at("card").dataset.kind = task.kind;
    this.begun = Boolean(task.begun);
    this.at("work").replaceChildren();
    this.kind.show(task, task.begun ?? task.prediction?.answer ?? null);
    this.at("accept-button").hidden = Boolean(this.kind.decides) && this.kind.answer === null;
    this.at("accept-key").textContent = this.kind.decides ? "A" : "\u21b5";
    this.showSubmit();
    this.at("suggest").replaceChildren(...this.#suggestion(task));
    const { answer, labels } = this.words;
    this.at("labels").setAttribute("aria-label", task.kind === "preference" ? answer : labels);
    this.at("note").value = task.noted ?? "";
    this.at("note").hidden = !task.noted;
    const guideline = this.workflows.find((each) => each.name === task.workflow)?.guideline.trim();
    this.at("guideline").textContent = guideline ?? "";
    this.at("guide").hidden = !guideline;
    this.showLease();
    // Last, where all is laid out once.
    this.at("text").scrollTop = 0;
    const { top } = this.at("card").getBoundingClientRect();
    if (top < 0) scrollBy(0, top); // who read a long text to its end begins the next at its start
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
  #suggestion({ blind, kind, prediction }) {
    const { ai_suggests, blind_answer, blind_label, no_prediction } = this.words;
    if (blind) return [span(kind === "label" ? blind_label : blind_answer)];
    if (prediction === null) return [span(no_prediction)];
    return [
      span(`${ai_suggests} `),
      make("strong", "", shortText(this.kind.brief(prediction.answer), NAMED)),
      span(` ${percent(prediction.confidence)}`),
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

  /** @param {number} value seconds */
  #time(value) {
    return seconds(value, this.words.days);
  }
}
