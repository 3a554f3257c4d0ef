// What does a key or a button do? One key per decision, the next item at once, everything else in
// the background.
import { Buffer } from "./buffer.js";
import { Card } from "./card.js";
import { Choices } from "./choices.js";
import { Day } from "./day.js";
import { offerReasons, openReasons, sendOwnReason } from "./flag.js";
import { ApiError, call } from "./http.js";
import { bindKeys } from "./keys.js";
import { newKey, Outbox } from "./outbox.js";
import { fill, label, language, words } from "./words.js";

export async function mount(element) {
  const root = element.querySelector(".rv");
  if (root === null || root.dataset.mounted) return; // Gradio may render its component again
  root.dataset.mounted = "yes";
  try {
    const [me, known] = await Promise.all([call("GET", "/me"), words("card")]);
    new Screen(root, me, known).start();
  } catch (error) {
    if (error.status === 401) location.replace("/login");
    else setTimeout(() => (delete root.dataset.mounted, mount(element)), 2_000);
  }
}

class Screen {
  constructor(root, me, known) {
    this.root = root;
    this.words = known;
    this.undoing = false;
    this.trouble = null;
    this.at = (name) => root.querySelector(`[data-id="${name}"]`);
    this.at("who").textContent = me.name;
    this.card = new Card(root, this.at, known, me.workflows);
    this.choices = new Choices(this.at, known, me, (filter) => {
      this.buffer.restart(filter);
      this.day.load();
    });
    this.day = new Day(this.at, known, {
      filter: () => this.choices.filter,
      queues: (counts) => this.choices.offerQueues(counts),
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
      blocked: () => this.outbox.size > 0 && this.outbox.trouble !== null,
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
    this.takeReopened().then(() => this.buffer.refill());
    this.day.start();
  }

  /** The history page sends a reopened task here: /?task=…, leased to this reviewer already. */
  async takeReopened() {
    const id = new URLSearchParams(location.search).get("task");
    if (id === null) return;
    history.replaceState(null, "", "/");
    try {
      const task = await call("GET", `/tasks/${encodeURIComponent(id)}`);
      const lease = { task_id: task.id, lease_token: task.lease_token };
      const { held } = await call("POST", "/tasks/heartbeat", { leases: [lease] });
      if (task.id in held) this.buffer.putFirst(task);
    } catch {
      // It waits in the queue like any other.
    }
  }

  act(name, detail) {
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
      case "logout":
        this.logOut();
        break;
    }
  }

  /** Hands the decision to the outbox and shows the next item, in this order and without waiting. */
  decide(action, given, reason = null) {
    const task = this.buffer.current;
    if (task === undefined) return;
    const took = (performance.now() - this.card.shownAt) / 1_000;
    const body = { key: newKey(), lease_token: task.lease_token, action };
    if (action === "correct") body.label = given;
    if (reason) body.reason = reason;
    const note = this.at("note").value.trim();
    if (note) body.note = note;
    body.seconds = Math.min(took, 86_400);
    const changed = action !== "accept" && given !== task.suggestion?.label && !task.blind;
    this.day.add({ key: body.key, task, label: given, action, changed, late: false }, took);
    this.buffer.next();
    this.show();
    const what = given ?? this.words[action === "skip" ? "skipped" : "flagged"];
    this.say(fill(this.words.recorded, { what }));
    this.outbox.add({ key: body.key, taskId: task.id, at: Date.now(), body });
    this.day.showLast();
  }

  flag(reason) {
    this.at("flag-dialog").close();
    this.decide("flag", null, reason);
  }

  async undo() {
    const last = this.day.decided.find((each) => !each.late);
    if (last === undefined || this.undoing) {
      if (!this.undoing) this.toast(this.words.nothing_to_undo);
      return;
    }
    this.undoing = true;
    try {
      let { task } = last;
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
      if (task !== null) this.buffer.putFirst(task);
      this.toast(said);
    } catch (error) {
      if (!error.temporary) this.day.drop(last);
      this.toast(error instanceof ApiError ? this.explained(error) : String(error));
    } finally {
      this.undoing = false;
      this.day.showLast();
      this.day.load();
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

  show() {
    this.card.show(this.buffer.current, this.buffer.loading);
    this.at("stat-buffered").textContent = String(this.buffer.tasks.length);
  }

  showSync() {
    this.day.showSync(this.outbox.size, this.outbox.trouble ?? this.trouble);
  }

  toast(text) {
    const toast = this.at("toast");
    toast.textContent = text;
    toast.classList.add("rv-on");
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => toast.classList.remove("rv-on"), 2_500);
  }

  /** For screen readers. */
  say(text) {
    this.at("says").textContent = text;
  }
}
