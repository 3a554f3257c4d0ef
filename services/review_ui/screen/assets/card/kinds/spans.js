// Labelled places in the text: selected by mouse or by keys, a digit gives the label.
import { CodePoints } from "../code-points.js";
import { labelButton } from "../label-button.js";
import { SpanEditor } from "../span-editor.js";
import { spanKey } from "../span-keys.js";
import { hue } from "../span-text.js";
import { ends } from "../word-steps.js";
import { make, makeButton, percent, shortText, span as line } from "../../show.js";
import { fill } from "../../words/words.js";

const READ_OUT = 80; // characters

/** @typedef {import("../span-list.js").Span} Span */

/** @implements {Ui.KindCard} */
export class SpansCard {
  points = new CodePoints("");
  /** How sure the predicted spans are. @type {Map<string, number>} */
  shares = new Map();

  /** @param {Ui.Desk} desk */
  constructor(desk) {
    const { at, say, words } = desk;
    this.desk = desk;
    const here = () => at("card").dataset.kind === "spans";
    this.editor = new SpanEditor(at("text"), {
      here,
      changed: () => desk.changed(),
      chosen: () => this.#chosen(),
      removed: (gone) => this.#removed(gone),
      refused: () => say(words.span_in_the_way),
    });
    const parts = [make("kbd", "", "⌫"), line(words.span_remove, "rv-name")];
    this.remove = makeButton("rv-button rv-label", parts, () => this.editor.remove());
    // The buttons leave the selection as it is.
    at("labels").addEventListener("mousedown", (event) => here() && event.preventDefault());
  }

  get answer() {
    const { points } = this;
    return {
      spans: this.editor.spans.map(({ start, end, label }) => ({
        start: points.before(start),
        end: points.before(end),
        label,
      })),
    };
  }

  /**
   * @param {Ui.Task} task
   * @param {Ui.Answer | null} answer
   */
  show(task, answer) {
    const { at, me } = this.desk;
    this.points = new CodePoints(task.text);
    const { prediction } = task;
    const parts = Array.isArray(prediction?.parts) ? prediction.parts : [];
    const predicted = this.#inUnits(prediction?.answer);
    this.shares = new Map(predicted.map((span, nth) => [JSON.stringify(span), parts[nth] ?? 0]));
    const buttons = task.labels.map((label, place) => {
      const button = labelButton(label, place);
      button.classList.add("rv-tagged", hue(place));
      return button;
    });
    at("labels").replaceChildren(...buttons, this.remove);
    const overlap = me.workflows.find((each) => each.name === task.workflow)?.overlap ?? false;
    this.editor.show(task.text, task.labels, this.#inUnits(answer), overlap);
    this.remove.disabled = true;
  }

  /** @param {number} place */
  digit(place) {
    const label = this.editor.labels[place];
    const { say, words } = this.desk;
    if (label !== undefined && !this.editor.label(label)) say(words.span_select_first);
  }

  wrong() {
    return null; // no place at all is an answer
  }

  /** @param {Ui.Answer} answer */
  brief({ spans }) {
    const n = /** @type {Span[]} */ (spans).length;
    const { spans_none, spans_one, spans_many } = this.desk.words;
    return n === 0 ? spans_none : n === 1 ? spans_one : fill(spans_many, { n });
  }

  /**
   * @param {KeyboardEvent} event
   * @param {Element} target
   */
  key(event, target) {
    return spanKey(this.editor, event, target === document.body || target === this.desk.at("text"));
  }

  /** Says what is selected. */
  #chosen() {
    const { active, selected, spans, text } = this.editor;
    this.remove.disabled = active === null;
    if (selected === null) return;
    const said = [shortText(text.slice(...ends(selected)), READ_OUT)];
    if (active) {
      const share = this.shares.get(JSON.stringify(active));
      said.push(active.label, `${spans.indexOf(active) + 1}/${spans.length}`);
      if (share) said.push(percent(share));
    }
    this.desk.say(said.join(", "));
  }

  /** @param {readonly Span[]} gone */
  #removed(gone) {
    const { say, words } = this.desk;
    const [first] = gone;
    const one = first && `${shortText(this.editor.text.slice(first.start, first.end), READ_OUT)}, ${first.label}`;
    say(fill(words.span_removed, { what: gone.length === 1 ? one ?? "" : fill(words.spans_many, { n: gone.length }) }));
  }

  /**
   * @param {Ui.Answer | undefined | null} answer
   * @returns {Span[]}
   */
  #inUnits(answer) {
    return /** @type {Span[]} */ (answer?.spans ?? []).map(({ start, end, label }) => ({
      start: this.points.unit(start),
      end: this.points.unit(end),
      label,
    }));
  }
}
