// The parts of the review page put together: what each tells the others, and what is shown of it.
import { shortText } from "../show.js";
import { label, language } from "../words/words.js";
import { Actions } from "./actions.js";
import { Batch } from "./batch.js";
import { Buffer } from "./buffer.js";
import { Card } from "./card.js";
import { Choices } from "./choices.js";
import { Day } from "./day.js";
import { Deciding } from "./deciding.js";
import { Filters } from "./filters.js";
import { offerReasons } from "./flag.js";
import { bindKeys } from "./keys.js";
import { Kinds } from "./kinds/kinds.js";
import { Leads } from "./leads.js";
import { Messages } from "./messages.js";
import { Outbox } from "./outbox.js";
import { takeUp, takeUpFirst } from "./take-up.js";

const READ_OUT = 300; // characters of an item; all of it is in a region of its own

export class Screen {
  /** What keeps tasks from coming. @type {unknown} */
  trouble = null;

  /**
   * @param {HTMLElement} root
   * @param {Api.Me} me
   * @param {Ui.Words} words
   */
  constructor(root, me, words) {
    this.root = root;
    this.words = words;
    this.leading = me.role !== "reviewer";
    /** Of answers that somebody here is asked for. @type {Set<string>} */
    this.kinds = new Set(me.workflows.map((workflow) => workflow.answer));
    this.at = /** @type {Ui.At} */ ((name) => root.querySelector(`[data-id="${name}"]`));
    const { at } = this;
    at("who").textContent = me.name;
    const filter = () => this.choices.filter;
    this.messages = new Messages(at, words);
    const kinds = new Kinds({
      at,
      words,
      me,
      decide: (action, given) => this.deciding.decide(action, given),
      send: () => this.actions.act("send"),
      changed: () => this.card.changed(),
      say: (text) => this.messages.say(text),
    });
    this.card = new Card(root, at, words, me.workflows, kinds);
    this.choices = new Choices(at, words, me, (chosen) => {
      this.filters.show();
      this.buffer.restart(chosen);
      this.day.load();
    });
    this.filters = new Filters(at, words, me, this.choices);
    this.batch = new Batch(at, words, {
      filter,
      changed: () => {
        this.buffer.restart();
        this.day.load();
      },
    });
    this.leads = new Leads(at, words, {
      filter,
      takeUp: (id) => takeUp(this, id),
      said: (text) => this.messages.toast(text),
    });
    this.day = new Day(at, words, {
      filter,
      queues: (counts) => this.choices.offerQueues(counts),
      forOthers: () => this.show(),
      trouble: (error) => this.inTrouble(error),
    });
    this.deciding = new Deciding(this);
    this.outbox = new Outbox(me.name, {
      changed: () => this.showSync(),
      answered: () => {
        this.buffer.refill();
        this.day.loadSoon();
      },
      refused: (entry, error) => this.deciding.refused(entry, error),
    });
    this.buffer = new Buffer(me.lease_seconds, this.choices.filter, {
      changed: () => this.show(),
      trouble: (error) => this.inTrouble(error),
      refused: (error) => this.messages.toast(this.messages.explained(error)),
      blocked: () => this.outbox.size > 0 && this.outbox.trouble !== null,
      writing: () => this.card.begun || root.querySelector("dialog[open], textarea:focus") !== null,
    });
    this.actions = new Actions(this);
  }

  /** Whether anything is chosen. */
  get filtered() {
    return Object.keys(this.choices.filter).length > 0;
  }

  start() {
    this.#label();
    this.#listen();
    this.show();
    this.outbox.flush();
    takeUpFirst(this).then(() => this.buffer.refill());
    this.day.start();
    this.at("batch").hidden = !this.leading;
    for (const each of /** @type {NodeListOf<HTMLElement>} */ (
      this.root.querySelectorAll("[data-lead]")
    )) {
      each.hidden = !this.leading;
    }
    this.#offerKeys();
    if (this.leading) this.leads.start();
  }

  /** The help names the keys of the kinds of answers that somebody here is asked for. */
  #offerKeys() {
    for (const each of /** @type {NodeListOf<HTMLElement>} */ (
      this.root.querySelectorAll("[data-kinds]")
    )) {
      each.hidden = !each.dataset.kinds?.split(" ").some((kind) => this.kinds.has(kind));
    }
  }

  #label() {
    const { at, words } = this;
    this.root.lang = language();
    label(this.root, words);
    at("text").setAttribute("aria-label", words.item);
    at("note").setAttribute("aria-label", words.note);
    at("note").placeholder = words.note_hint;
  }

  #listen() {
    const { actions, at } = this;
    offerReasons(at, this.words, this.kinds, (reason) => actions.flag(reason));
    this.root.addEventListener("click", ({ target, detail }) => {
      const button = target instanceof Element && target.closest("[data-act]");
      if (!(button instanceof HTMLElement)) return;
      const { act, index } = button.dataset;
      if (act === "label" && detail > 0) button.blur(); // Enter then sends, and does not press again
      actions.act(/** @type {Ui.ActionName} */ (act), index);
    });
    bindKeys(
      this.root,
      (name, detail) => actions.act(name, detail),
      () => this.buffer.active(),
      (event, target) => this.buffer.current !== undefined && (this.card.kind.key?.(event, target) ?? false),
    );
    at("note").addEventListener("keydown", (event) => {
      if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
        event.preventDefault();
        at("note").blur();
      }
    });
  }

  /** @param {unknown} error null: it is over */
  inTrouble(error) {
    if (error === null && this.trouble === null) return;
    this.trouble = error;
    this.showSync();
  }

  /**
   * The first task, or that there is none.
   * @param {string} [done] what led to this, for who hears the page; they also hear what is shown now
   */
  show(done = "") {
    const { at, buffer, card, words } = this;
    const was = card.task;
    card.show(buffer.current, buffer.loading, this.filtered, this.day.forOthers);
    at("stat-buffered").textContent = String(buffer.tasks.length);
    const { task } = card;
    if (task !== undefined && task === was) return;
    const text = task && `${words.item}: ${shortText(task.text, READ_OUT)}`;
    // What A would take as well: nobody accepts what they have not heard.
    const said = [done, text ?? at("empty-title").textContent, task && at("suggest").textContent];
    this.messages.say(said.filter(Boolean).join(" "));
  }

  showSync() {
    const { size, safe, trouble } = this.outbox;
    this.day.showSync(size, trouble ?? this.trouble, safe);
  }
}
