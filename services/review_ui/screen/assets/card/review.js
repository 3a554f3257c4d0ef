// What does a key or a button do? One key per decision, the next item at once, everything else in
// the background.
import { Batch } from "./batch.js";
import { Buffer } from "./buffer.js";
import { Card } from "./card.js";
import { Choices } from "./choices.js";
import { Day } from "./day.js";
import { Filters } from "./filters.js";
import { offerReasons, openReasons, sendOwnReason } from "./flag.js";
import { ApiError, call, loginAddress, speakFor } from "../http.js";
import { bindKeys } from "./keys.js";
import { Leads } from "./leads.js";
import { newKey, Outbox } from "./outbox.js";
import { shortText } from "../show.js";
import { fill, label, language, words } from "../words/words.js";

// What is pressed after an undo is meant for the item that it brings back.
const FOR_THE_CARD = new Set(["accept", "label", "skip", "flag", "note", "undo"]);
const READ_OUT = 300; // characters of an item; all of it is in a region of its own

export async function mount(element) {
  const root = element.querySelector(".rv");
  if (root === null || root.dataset.mounted) return; // Gradio may render its component again
  root.dataset.mounted = "yes";
  try {
    const [me, known] = await Promise.all([call("GET", "/me"), words("card")]);
    speakFor(me.name);
    new Screen(root, me, known).start();
  } catch (error) {
    if (error.status === 401) location.replace(loginAddress());
    else setTimeout(() => (delete root.dataset.mounted, mount(element)), 2_000);
  }
}

class Screen {
  constructor(root, me, known) {
    this.root = root;
    this.words = known;
    this.undoing = false;
    this.meant = []; // for the card, while an undo is on its way
    this.trouble = null;
    this.forOthers = 0;
    this.leading = me.role !== "reviewer";
    this.at = (name) => root.querySelector(`[data-id="${name}"]`);
    this.at("who").textContent = me.name;
    this.card = new Card(root, this.at, known, me.workflows);
    this.choices = new Choices(this.at, known, me, (filter) => {
      this.filters.show();
      this.buffer.restart(filter);
      this.day.load();
    });
    this.filters = new Filters(this.at, known, me, this.choices);
    this.batch = new Batch(this.at, known, {
      filter: () => this.choices.filter,
      changed: () => {
        this.buffer.restart();
        this.day.load();
      },
      explained: (error) => this.explained(error),
    });
    this.leads = new Leads(this.at, known, {
      filter: () => this.choices.filter,
      takeUp: (id) => this.takeUp(id),
      said: (text) => this.toast(text),
    });
    this.day = new Day(this.at, known, {
      filter: () => this.choices.filter,
      queues: (counts) => this.choices.offerQueues(counts),
      forOthers: (count) => {
        this.forOthers = count;
        this.show();
      },
      trouble: (error) => this.inTrouble(error),
    });
    this.outbox = new Outbox(me.name, {
      changed: () => this.showSync(),
      answered: () => {
        this.buffer.refill();
        this.day.loadSoon();
      },
      refused: (entry, error) => this.refused(entry, error),
    });
    this.buffer = new Buffer(me.lease_seconds, this.choices.filter, {
      changed: () => this.show(),
      trouble: (error) => this.inTrouble(error),
      refused: (error) => this.toast(this.explained(error)),
      blocked: () => this.outbox.size > 0 && this.outbox.trouble !== null,
      writing: () => root.querySelector("dialog[open], textarea:focus") !== null,
    });
  }

  start() {
    this.root.lang = language();
    label(this.root, this.words);
    this.at("labels").setAttribute("aria-label", this.words.labels);
    this.at("text").setAttribute("aria-label", this.words.item);
    this.at("note").setAttribute("aria-label", this.words.note);
    this.at("note").placeholder = this.words.note_hint;
    offerReasons(this.at, this.words, (reason) => this.flag(reason));
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act]");
      if (button !== null) this.act(button.dataset.act, button);
    });
    bindKeys(this.root, (name, detail) => this.act(name, detail), () => this.buffer.active());
    this.at("note").addEventListener("keydown", (event) => {
      if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
        event.preventDefault();
        event.target.blur();
      }
    });
    this.show();
    this.outbox.flush();
    this.takeUpFirst().then(() => this.buffer.refill());
    this.day.start();
    this.at("batch").hidden = !this.leading;
    for (const each of this.root.querySelectorAll("[data-lead]")) each.hidden = !this.leading;
    if (this.leading) this.leads.start();
  }

  /** Other pages send a task here: /?task=…, one's own, or for a lead to take up. */
  async takeUpFirst() {
    await this.buffer.recover();
    const query = new URLSearchParams(location.search);
    const id = query.get("task");
    if (id === null) return;
    query.delete("task");
    history.replaceState(null, "", query.size > 0 ? `/?${query}` : "/");
    await this.takeUp(id);
  }

  /** Shows the task of this id first: one that is leased to me already, or that I may reopen. */
  async takeUp(id) {
    const path = `/tasks/${encodeURIComponent(id)}`;
    try {
      let task = await call("GET", path);
      const lease = { task_id: task.id, lease_token: task.lease_token };
      const { held } = await call("POST", "/tasks/heartbeat", { leases: [lease] });
      if (!(task.id in held)) {
        if (!this.leading) throw new ApiError(403, "not_yours", this.words.error_not_yours);
        task = await call("POST", `${path}/reopen`);
      }
      this.buffer.putFirst(task);
      if (this.leading) this.leads.load();
    } catch (error) {
      this.toast(fill(this.words.not_taken_up, { why: this.explained(error) }), 8_000);
    }
  }

  async openBatch() {
    if (!this.leading) return;
    if (!this.choices.narrows && this.batch.last === null) {
      this.toast(this.words.batch_needs_filter, 6_000);
      return;
    }
    try {
      await this.outbox.flush(); // what is decided is not offered again
      await this.batch.open();
    } catch (error) {
      this.toast(this.explained(error), 6_000);
    }
  }

  only(which) {
    this.leads.close();
    this.choices.set({ only: which });
  }

  act(name, detail) {
    if (this.undoing && FOR_THE_CARD.has(name)) {
      this.meant.push([name, detail]);
      return;
    }
    const task = this.buffer.current;
    switch (name) {
      case "accept":
        if (task?.suggestion) this.decide("accept", task.suggestion.label);
        else if (task) this.toast(this.words.blind_label);
        break;
      case "label": {
        const given = task?.labels[Number(detail?.dataset?.index ?? detail)];
        if (given !== undefined) this.decide("correct", given);
        break;
      }
      case "skip":
        this.decide("skip", null);
        break;
      case "flag":
        if (task) openReasons(this.at);
        break;
      case "flag-send":
        sendOwnReason(this.at, (reason) => this.flag(reason));
        break;
      case "flag-cancel":
        this.at("flag-dialog").close();
        break;
      case "note":
        this.at("note").hidden = false;
        this.at("note").focus();
        break;
      case "undo":
        this.undo();
        break;
      case "highlights":
        if (task && !task.suggestion) this.toast(this.words.blind_label);
        else this.say(this.card.highlights.toggle() ? this.words.highlights_on : this.words.highlights_off);
        break;
      case "help":
        this.at("help-dialog").showModal();
        break;
      case "help-close":
        this.at("help-dialog").close();
        break;
      case "filter":
        this.filters.open();
        break;
      case "filter-cancel":
        this.at("filter-dialog").close();
        break;
      case "filter-clear":
        if (Object.keys(this.choices.filter).length > 0) this.choices.clear();
        break;
      case "batch":
        this.openBatch();
        break;
      case "batch-undo":
        this.batch.undo();
        break;
      case "batch-close":
        this.batch.close();
        break;
      case "leads":
        if (this.leading) this.leads.open();
        break;
      case "leads-close":
        this.leads.close();
        break;
      case "only-disputed":
        this.only("disputed");
        break;
      case "only-flagged":
        this.only("flagged");
        break;
      case "logout":
        this.logOut();
        break;
    }
  }

  /** Hands the decision to the outbox and shows the next item, in this order and without waiting. */
  decide(action, given, reason = null) {
    const task = this.buffer.current;
    if (task === undefined) return;
    const { work, idle } = this.card.attention.taken();
    const body = { key: newKey(), lease_token: task.lease_token, action };
    if (action === "correct") body.label = given;
    if (reason) body.reason = reason;
    const note = this.at("note").value.trim();
    if (note) body.note = note;
    body.seconds = Math.min(work, 86_400);
    body.idle_seconds = idle;
    const changed = action !== "accept" && given !== task.suggestion?.label && !task.blind;
    this.day.add({ key: body.key, task, label: given, action, changed, late: false, note }, work);
    this.buffer.next();
    const what = given ?? this.words[action === "skip" ? "skipped" : "flagged"];
    this.show(fill(this.words.recorded, { what }));
    this.outbox.add({ key: body.key, taskId: task.id, at: Date.now(), body });
    this.day.showLast();
  }

  flag(reason) {
    this.at("flag-dialog").close();
    this.decide("flag", null, reason);
  }

  async undo() {
    const last = this.day.decided.find((each) => !each.late);
    if (last === undefined) {
      this.toast(this.words.nothing_to_undo);
      return;
    }
    this.undoing = true;
    let { task } = last;
    let back = false;
    try {
      let said = this.words.undone;
      if (task === null || !this.outbox.remove(last.key)) {
        await this.outbox.settled(last.key);
        if (last.late) return;
        const answer = await call("POST", `/decisions/${last.key}/undo`);
        task = answer.task;
        if (answer.published) said = this.words.undone_published;
        if (task === null) said = this.words.undone_elsewhere;
      }
      this.day.drop(last);
      this.day.durations.pop();
      back = task !== null;
      if (back) {
        task.draft = last.note;
        this.buffer.putFirst(task);
      }
      this.toast(said);
    } catch (error) {
      if (!error.temporary) this.day.drop(last);
      this.toast(error instanceof ApiError ? this.explained(error) : String(error));
    } finally {
      this.undoing = false;
      this.day.showLast();
      this.day.load();
      const meant = this.meant.splice(0);
      if (back) for (const each of meant) this.act(...each);
    }
  }

  async logOut() {
    this.buffer.release();
    try {
      await this.outbox.flush();
      await call("POST", "/logout");
    } finally {
      location.replace("/login");
    }
  }

  refused(entry, error) {
    const known = this.day.decided.find((each) => each.key === entry.key);
    if (known) known.late = true;
    const why = this.explained(error);
    this.toast(error.code === "stale_lease" ? why : fill(this.words.refused, { why }));
    this.day.showLast();
  }

  /** The error in the page's language where it is known, else as the server said it. */
  explained(error) {
    return this.words[`error_${error.code}`] ?? error.message;
  }

  inTrouble(error) {
    if (error === null && this.trouble === null) return;
    this.trouble = error;
    this.showSync();
  }

  /** `done`: what led to this, for who hears the page; they also hear what is shown now. */
  show(done = "") {
    const was = this.card.task;
    const filtered = Object.keys(this.choices.filter).length > 0;
    this.card.show(this.buffer.current, this.buffer.loading, filtered, this.forOthers);
    this.at("stat-buffered").textContent = String(this.buffer.tasks.length);
    const { task } = this.card;
    if (task !== undefined && task === was) return;
    const text = task && `${this.words.item}: ${shortText(task.text, READ_OUT)}`;
    this.say(`${done} ${text ?? this.at("empty-title").textContent}`.trim());
  }

  showSync() {
    const { size, safe, trouble } = this.outbox;
    this.day.showSync(size, trouble ?? this.trouble, safe);
  }

  toast(text, milliseconds = 2_500) {
    const toast = this.at("toast");
    toast.textContent = text;
    toast.classList.add("rv-on");
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => toast.classList.remove("rv-on"), milliseconds);
  }

  /** For screen readers. */
  say(text) {
    this.at("says").textContent = text;
  }
}
