// The review card: one key per decision, the next item at once, everything else in the background.
// Texts of items reach the page through textContent only.
import { Buffer } from "./buffer.js";
import { ApiError, call } from "./http.js";
import { bindKeys } from "./keys.js";
import { newKey, Outbox } from "./outbox.js";
import { words } from "./words.js";
import { make, percent, seconds, shortText, span } from "./show.js";

const STATS_EVERY_MS = 10_000;
const LAST = 8;

export async function mount(element) {
  const root = element.querySelector(".rv");
  if (root === null || root.dataset.mounted) return; // Gradio may render its component again
  root.dataset.mounted = "yes";
  try {
    new Screen(root, await call("GET", "/me")).start();
  } catch (error) {
    if (error.status === 401) location.replace("/login");
    else setTimeout(() => (delete root.dataset.mounted, mount(element)), 2_000);
  }
}

class Screen {
  constructor(root, me) {
    this.root = root;
    this.me = me;
    this.words = words(navigator.language);
    this.durations = [];
    this.decidedHere = [];
    this.statsSoon = null;
    this.undoing = false;
    this.outbox = new Outbox(me.name, {
      changed: () => this.showSync(),
      answered: () => {
        this.buffer.refill();
        this.statsSoon ??= setTimeout(() => this.loadStats(), 1_000);
      },
      refused: (entry, error) => this.refused(entry, error),
    });
    this.buffer = new Buffer(me.lease_seconds, {
      changed: () => this.show(),
      trouble: (error) => this.inTrouble(error),
      blocked: () => this.outbox.size > 0 && this.outbox.trouble !== null,
    });
    this.trouble = null;
  }

  /** The element that the template calls `name`. */
  at(name) {
    return this.root.querySelector(`[data-id="${name}"]`);
  }

  start() {
    for (const each of this.root.querySelectorAll("[data-t]")) {
      each.textContent = this.words[each.dataset.t];
    }
    this.at("labels").setAttribute("aria-label", this.words.labels);
    this.at("text").setAttribute("aria-label", this.words.item);
    this.at("note").setAttribute("aria-label", this.words.note);
    this.at("note").placeholder = this.words.note_hint;
    this.at("who").textContent = this.me.name;
    this.offerWorkflows();
    this.offerReasons();
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
    this.buffer.refill();
    this.loadLast();
    this.loadStats();
    setInterval(() => document.hidden || this.loadStats(), STATS_EVERY_MS);
  }

  offerWorkflows() {
    const select = this.at("workflow");
    if (this.me.workflows.length < 2) return;
    select.hidden = false;
    select.setAttribute("aria-label", this.words.workflow);
    select.append(new Option(this.words.workflow_all, ""));
    for (const { name } of this.me.workflows) select.append(new Option(name, name));
    select.addEventListener("change", () => {
      this.buffer.restart(select.value ? { workflow: select.value } : {});
      select.blur();
    });
  }

  offerReasons() {
    this.words.flag_reasons.forEach((reason, index) => {
      const button = make("button", "rv-button", [make("kbd", "", String(index + 1)), span(reason)]);
      button.type = "button";
      button.addEventListener("click", () => this.flag(reason));
      this.at("reasons").append(button);
    });
    this.at("flag-dialog").addEventListener("keydown", (event) => {
      if (event.target.matches("textarea")) {
        if (event.key === "Enter" && !event.shiftKey) {
          event.preventDefault();
          this.act("flag-send");
        }
        return;
      }
      const chosen = this.words.flag_reasons[Number(event.key) - 1];
      if (chosen !== undefined && !event.repeat) {
        event.preventDefault();
        this.flag(chosen);
      }
    });
  }

  // -- doing -------------------------------------------------------------------------------

  act(name, detail) {
    const task = this.buffer.current;
    switch (name) {
      case "accept":
        if (task?.suggestion) this.decide("accept", task.suggestion.label);
        else if (task) this.toast(this.words.blind_label);
        break;
      case "label": {
        const label = task?.labels[Number(detail?.dataset?.index ?? detail)];
        if (label !== undefined) this.decide("correct", label);
        break;
      }
      case "skip":
        this.decide("skip", null);
        break;
      case "flag":
        if (task) this.openFlag();
        break;
      case "flag-send": {
        const reason = this.at("flag-text").value.trim();
        if (reason) this.flag(reason);
        else this.at("flag-text").focus();
        break;
      }
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
  decide(action, label, reason = null) {
    const task = this.buffer.current;
    if (task === undefined) return;
    const took = (performance.now() - this.shownAt) / 1_000;
    const body = { key: newKey(), lease_token: task.lease_token, action };
    if (action === "correct") body.label = label;
    if (reason) body.reason = reason;
    const note = this.at("note").value.trim();
    if (note) body.note = note;
    body.seconds = Math.min(took, 86_400);
    this.durations.push(took);
    const changed = action !== "accept" && label !== task.suggestion?.label && !task.blind;
    this.decidedHere.unshift({ key: body.key, task, label, action, changed, late: false });
    this.buffer.next();
    this.show();
    this.say(this.words.recorded(label ?? this.words[action === "skip" ? "skipped" : "flagged"]));
    this.outbox.add({ key: body.key, taskId: task.id, at: Date.now(), body });
    this.showLast();
  }

  openFlag() {
    this.at("flag-text").value = "";
    this.at("flag-dialog").showModal();
  }

  flag(reason) {
    this.at("flag-dialog").close();
    this.decide("flag", null, reason);
  }

  async undo() {
    const last = this.decidedHere.find((each) => !each.late);
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
      this.decidedHere = this.decidedHere.filter((each) => each !== last);
      this.durations.pop();
      if (task !== null) this.buffer.putFirst(task);
      this.toast(said);
    } catch (error) {
      if (!error.temporary) this.decidedHere = this.decidedHere.filter((each) => each !== last);
      this.toast(error instanceof ApiError ? error.message : String(error));
    } finally {
      this.undoing = false;
      this.showLast();
      this.loadStats();
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
    const known = this.decidedHere.find((each) => each.key === entry.key);
    if (known) known.late = true;
    this.toast(error.code === "stale_lease" ? error.message : this.words.refused(error.message));
    this.showLast();
  }

  inTrouble(error) {
    this.trouble = error;
    this.showSync();
  }

  // -- showing -----------------------------------------------------------------------------

  show() {
    const task = this.buffer.current;
    this.root.dataset.state = task ? "task" : this.buffer.loading ? "loading" : "empty";
    this.at("card").hidden = !task;
    this.at("empty").hidden = Boolean(task);
    this.at("stat-buffered").textContent = String(this.buffer.tasks.length);
    if (!task) {
      const { loading } = this.buffer;
      this.at("empty-title").textContent = loading ? this.words.loading : this.words.done_title;
      this.at("empty-text").textContent = loading ? "" : this.words.done_text;
      this.shown = undefined;
      return;
    }
    if (task === this.shown) return;
    this.shown = task;
    this.shownAt = performance.now();
    this.showTask(task);
  }

  showTask(task) {
    this.at("item").textContent = `#${shortText(task.item_id, 40)}`;
    this.at("item").title = task.item_id;
    this.at("text").textContent = task.text;
    this.at("text").scrollTop = 0;
    this.at("suggest").replaceChildren(...this.suggestion(task));
    this.at("badges").replaceChildren(...this.badges(task));
    this.at("why").replaceChildren(...task.reasons.map((reason) => make("li", "", reason.text)));
    const details = Object.entries(task.metadata);
    this.at("details").hidden = details.length === 0;
    this.at("metadata").replaceChildren(
      ...details.map(([name, value]) => {
        const shown = typeof value === "string" ? value : JSON.stringify(value);
        const head = make("th", "", name);
        head.scope = "row";
        return make("tr", "", [head, make("td", "", shown)]);
      }),
    );
    this.at("labels").replaceChildren(...task.labels.map((label, at) => this.label(task, label, at)));
    const accept = this.root.querySelector('[data-act="accept"]');
    accept.hidden = task.suggestion === null;
    this.at("accept").textContent = task.suggestion
      ? this.words.accept_label(task.suggestion.label)
      : this.words.accept;
    this.at("note").value = "";
    this.at("note").hidden = true;
    const workflow = this.me.workflows.find((each) => each.name === task.workflow);
    this.at("guideline").textContent = workflow?.guideline.trim() ?? "";
    this.at("guide").hidden = !workflow?.guideline.trim();
  }

  suggestion(task) {
    if (task.suggestion === null) return [span(this.words.blind_label)];
    const { label, confidence } = task.suggestion;
    return [
      span(`${this.words.ai_suggests} `),
      make("strong", "", label),
      span(` ${percent(confidence)}`),
    ];
  }

  badges(task) {
    const found = [];
    if (task.blind) found.push(make("span", "rv-badge rv-info", this.words.blind));
    if (task.priority) found.push(make("span", "rv-badge", this.words.priority(task.priority)));
    if (task.due_at) {
      const left = (new Date(task.due_at) - Date.now()) / 1_000;
      const text = left >= 0 ? this.words.due_in(seconds(left)) : this.words.due_over(seconds(-left));
      found.push(make("span", left < 600 ? "rv-badge rv-late" : "rv-badge", text));
    }
    if (task.truncated) found.push(make("span", "rv-badge rv-late", this.words.truncated));
    return found;
  }

  label(task, label, index) {
    const share = task.suggestion?.distribution[label];
    const parts = [span(label, "rv-name")];
    if (index < 9) parts.unshift(make("kbd", "", String(index + 1)));
    if (share !== undefined) parts.push(span(percent(share), "rv-share"));
    const button = make("button", "rv-button rv-label", parts);
    button.type = "button";
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

  showSync() {
    const unsent = this.outbox.size;
    const trouble = this.outbox.trouble ?? this.trouble;
    const ended = trouble?.status === 401;
    const sync = this.at("sync");
    sync.textContent = trouble
      ? this.words.offline(unsent)
      : unsent > 0
        ? this.words.saving(unsent)
        : this.words.saved;
    sync.dataset.state = trouble ? "away" : unsent > 0 ? "busy" : "saved";
    const banner = this.at("banner");
    banner.hidden = !trouble;
    if (trouble) {
      const link = make("a", "", this.words.log_in_link);
      link.href = "/login";
      banner.replaceChildren(
        ...(ended
          ? [span(`${this.words.log_in_again} `), link]
          : [span(`${trouble.message} ${this.words.offline(unsent)}.`)]),
      );
    }
  }

  showLast() {
    const rows = this.decidedHere.slice(0, LAST).map((each) => {
      const what = each.label ?? this.words[each.action === "skip" ? "skipped" : "flagged"];
      return make("li", each.late ? "rv-gone" : "", [
        span(`#${shortText(each.task?.item_id ?? each.itemId, 16)}`),
        span(each.late ? `${what} · ${this.words.late}` : what, each.changed ? "rv-changed" : ""),
      ]);
    });
    if (rows.length === 0) rows.push(make("li", "rv-none", this.words.no_decisions));
    this.at("last").replaceChildren(...rows);
    const sorted = [...this.durations].sort((one, other) => one - other);
    const median = sorted[Math.floor(sorted.length / 2)];
    this.at("stat-median").textContent = median === undefined ? "–" : `${median.toFixed(1)} s`;
  }

  async loadLast() {
    try {
      const { decisions } = await call("GET", `/decisions?limit=${LAST}`);
      const known = new Set(this.decidedHere.map((each) => each.key));
      for (const each of decisions) {
        if (each.undone || known.has(each.key)) continue;
        const { key, action, label } = each;
        const changed = action !== "accept" && action !== "label";
        const late = !each.effective;
        this.decidedHere.push({ key, action, label, changed, late, itemId: each.item_id, task: null });
      }
    } catch {
      // Only a convenience: what is decided from now on is listed all the same.
    }
    this.showLast();
  }

  async loadStats() {
    clearTimeout(this.statsSoon);
    this.statsSoon = null;
    try {
      const { queues, me } = await call("GET", "/stats");
      const { workflow } = this.buffer.filter;
      const open = queues
        .filter((each) => !workflow || each.workflow === workflow)
        .reduce((sum, each) => sum + each.open, 0);
      this.at("stat-queue").textContent = open.toLocaleString();
      this.at("stat-decided").textContent = me.decided.toLocaleString();
      this.at("stat-agreement").textContent = me.agreement === null ? "–" : percent(me.agreement);
      if (this.trouble) this.inTrouble(null);
    } catch (error) {
      if (error instanceof ApiError && error.temporary) this.inTrouble(error);
    }
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
