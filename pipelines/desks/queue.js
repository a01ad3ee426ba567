// The queue of the review page: puts pairs before a reviewer and sends what they say. One press is one verdict on the pair that was seen.

const MIN_SEEN_MS = 250; // a second press of a key that was meant for the pair before says nothing of this one
const POLL_MS = 4000; // how often a page in view asks whether another tab judged its pair
const KEYS = { 1: "left", 2: "right", 3: "same", 4: "unsure" };
const SAID = { left: "Left is better", right: "Right is better", same: "No difference", unsure: "Unsure" };
const KEPT = "refold-single-keys";

class Queue {
  constructor(root) {
    this.root = root;
    this.at = { experiment: root.dataset.experiment, version: root.dataset.version };
    this.pair = null; // what is shown, and not yet judged
    this.last = null; // the verdict given last, to show its sides
    this.busy = false;
    this.shownAt = 0;
    this.part("keys").checked = this.kept() !== "off";
    root.addEventListener("click", (event) => this.clicked(event));
    root.addEventListener("change", (event) => event.target.matches("[data-keys]") && this.keep(event.target.checked));
    this.show(root.dataset.unit || null);
  }

  part(name) {
    return this.root.querySelector(`[data-${name}]`);
  }

  kept() {
    try { return localStorage.getItem(KEPT); } catch { return null; }
  }

  keep(isOn) {
    try { localStorage.setItem(KEPT, isOn ? "on" : "off"); } catch { /* a browser that keeps nothing */ }
  }

  say(words, isFailed = false) {
    const status = this.part("status");
    status.textContent = words;
    status.classList.toggle("rf-failed", isFailed);
  }

  // The answer to a question; throws with words for the reader when there is none.
  async ask(name, body = null, query = {}) {
    let response;
    try {
      const path = `/queue/${name}`;
      response = body === null
        ? await fetch(`${path}?${new URLSearchParams({ ...this.at, ...query })}`)
        : await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ ...this.at, ...body }) });
    } catch {
      throw new Error("The server does not answer. Nothing was recorded since the last verdict; start refold review again, or try once more.");
    }
    let told;
    try { told = await response.json(); } catch { told = null; }
    if (told === null || told.state === "error" || !response.ok) {
      throw new Error(told?.error ?? `The server refused (${response.status}); open the address that it printed.`);
    }
    return told;
  }

  // Do one thing at a time; what fails is said, and leaves the pair where it is.
  async alone(work) {
    if (this.busy) return;
    this.busy = true;
    this.root.setAttribute("aria-busy", "true");
    try { await work(); } catch (error) { this.say(error.message, true); } finally {
      this.busy = false;
      this.root.setAttribute("aria-busy", "false");
    }
  }

  show(unit, words = "") {
    return this.alone(() => this.put(unit, words));
  }

  async put(unit, words) {
    const told = await this.ask("pair", null, unit ? { unit } : {});
    const isFirst = this.pair === null && this.last === null;
    this.part("reason").value = "";
    if (told.state === "done") {
      this.pair = null;
      this.part("pair").replaceChildren();
      this.part("place").textContent = "Nothing is left for you to judge.";
      this.part("bar").hidden = this.last === null;
      this.sayable(false);
      this.say(words);
    } else {
      this.pair = told;
      this.part("pair").innerHTML = told.html; // the server's own markup: every text in it is escaped
      this.part("place").textContent = told.place === null
        ? `Opened by hand; ${told.remaining} drawn pairs are left for you.`
        : `Pair ${told.place}; ${told.remaining} left for you.`;
      this.part("bar").hidden = false;
      this.sayable(told.stands === null);
      this.say(told.stands === null ? words : `You judged this pair already: ${told.stands.words}. Undo takes back the last verdict.`);
      if (told.stands !== null) this.revealable(told.stands);
    }
    this.shownAt = performance.now();
    this.mark(told.unit);
    if (!isFirst) {
      this.root.scrollIntoView({ block: "start" });
      if (!this.root.contains(document.activeElement) || document.activeElement === this.part("reason")) this.part("pair").focus({ preventScroll: true });
    }
    this.tell();
  }

  sayable(isOpen) {
    for (const button of this.root.querySelectorAll("[data-say], [data-do=skip]")) button.disabled = !isOpen;
  }

  revealable(verdict) {
    this.last = verdict;
    this.root.querySelector("[data-do=reveal]").disabled = false;
  }

  // The pair's address, to be sent or opened again.
  mark(unit) {
    const url = new URL(location.href);
    for (const [name, value] of Object.entries({ version: this.at.version, unit, view: "judge" })) {
      if (value) url.searchParams.set(name, value); else url.searchParams.delete(name);
    }
    history.replaceState(history.state, "", url);
  }

  // How far it is; asked beside, for nobody waits for it.
  async tell() {
    try {
      const told = await this.ask("progress");
      this.part("progress").innerHTML = told.html;
      const place = this.part("place");
      place.textContent = `${place.textContent.split(" Judged by you")[0]} Judged by you: ${told.judged} of ${told.sample}.`;
    } catch { /* said by what the reviewer does next */ }
  }

  judge(said) {
    const pair = this.pair;
    if (pair === null || pair.stands !== null || performance.now() - this.shownAt < MIN_SEEN_MS) return;
    const seconds = (performance.now() - this.shownAt) / 1000;
    this.alone(async () => {
      const told = await this.ask("record", { unit: pair.unit, verdict: pair.verdict, said, reason: this.part("reason").value, seconds });
      if (told.state === "taken") {
        if (told.stands !== null) this.revealable(told.stands);
        const words = told.stands === null
          ? "This pair was judged and taken back elsewhere; nothing was recorded."
          : `Nothing was recorded: in another tab you judged the pair before: ${told.stands.words}.`;
        await this.put(null, words);
        return;
      }
      this.revealable(told);
      await this.put(null, `Recorded: ${SAID[said]}.`);
    });
  }

  do(what) {
    if (what === "reveal" && this.last !== null) {
      this.say(`The last verdict: ${this.last.words}. ${this.last.revealed}`);
    } else if (what === "skip" && this.pair !== null && this.pair.stands === null) {
      const { unit } = this.pair;
      this.alone(async () => {
        await this.ask("skip", { unit });
        await this.put(null, "Skipped; it comes again at the end.");
      });
    } else if (what === "undo") {
      this.alone(async () => {
        const told = await this.ask("undo", {});
        if (told.state === "nothing") return this.say("There is no verdict of yours to take back.");
        this.last = null;
        this.root.querySelector("[data-do=reveal]").disabled = true;
        await this.put(told.unit, `Taken back: ${told.words}.`);
        this.part("reason").value = told.reason;
      });
    }
  }

  clicked(event) {
    const button = event.target.closest("button");
    if (button?.dataset.say) this.judge(button.dataset.say);
    else if (button?.dataset.do) this.do(button.dataset.do);
  }

  pressed(event) {
    const target = event.composedPath()[0];
    const reason = this.part("reason");
    if (target === reason && (event.key === "Escape" || event.key === "Enter")) {
      this.part("pair").focus({ preventScroll: true });
      event.preventDefault();
      return;
    }
    if (!this.part("keys").checked || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.composedPath().some((each) => each.matches?.(
      "input:not([type=checkbox]), textarea, select, [contenteditable=''], [contenteditable=true], [role=combobox], [role=listbox], [role=dialog], [role=slider]"))) return;
    if (this.part("bar").hidden) return;
    const key = event.key.toLowerCase();
    if (KEYS[key]) this.judge(KEYS[key]);
    else if (key === "s") this.do("skip");
    else if (key === "z") this.do("undo");
    else if (key === "v") this.do("reveal");
    else if (key === "r") reason.focus();
    else return;
    event.preventDefault();
  }

  // Whether another tab judged the pair that is shown here.
  async look() {
    if (this.busy || this.pair === null || this.pair.stands !== null || document.hidden) return;
    const { unit } = this.pair;
    let told;
    try { told = await this.ask("stands", null, { unit }); } catch { return; }
    if (this.busy || this.pair?.unit !== unit || !told.stands) return;
    this.pair.stands = told.stands;
    this.sayable(false);
    this.revealable(told.stands);
    await this.show(null, `In another tab you judged the pair that was here: ${told.stands.words}.`);
  }
}

let queue = null;

// marimo puts the section into the page when its cell has run, and takes it out when another view is chosen.
function attach() {
  const root = document.getElementById("queue");
  if (root !== null && queue?.root !== root) queue = new Queue(root);
  else if (root === null) queue = null;
}

function skipLink() {
  if (document.querySelector(".rf-skip") !== null || document.body === null) return;
  const link = document.createElement("a");
  link.className = "rf-skip rf";
  link.href = "#queue";
  link.textContent = "Skip to the pairs";
  link.addEventListener("click", (event) => {
    const target = document.getElementById("queue")?.querySelector("button:not(:disabled)") ?? document.querySelector("marimo-table");
    event.preventDefault();
    target?.scrollIntoView({ block: "center" });
    target?.focus();
  });
  document.body.prepend(link);
}

new MutationObserver(() => { attach(); skipLink(); }).observe(document.documentElement, { childList: true, subtree: true });
document.addEventListener("keydown", (event) => queue?.pressed(event));
document.addEventListener("visibilitychange", () => queue?.look());
setInterval(() => queue?.look(), POLL_MS);
