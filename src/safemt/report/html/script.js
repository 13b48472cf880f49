"use strict";
(() => {
  const PAGE = 50;
  const SLICE = 400;
  const byId = (id) => document.getElementById(id);
  const cache = new Map();
  const data = (id) => {
    if (!cache.has(id)) {
      const element = byId("data-" + id);
      cache.set(id, element ? JSON.parse(element.textContent) : null);
    }
    return cache.get(id);
  };
  const index = data("index");
  const [RUN, ID, TURNS, SCENARIO, METHOD, LABEL, OUTCOME, CAUSE, DIALOGUE, IMAGE] = Array(10).keys();
  const piece = (kind, at) => {
    const texts = data(`${kind}-${Math.floor(at / index.piece)}`);
    return texts ? texts[at % index.piece] : null;
  };
  const dialogueOf = (row) => (row[DIALOGUE] < 0 ? null : piece("dialogues", row[DIALOGUE]));
  const answerOf = (number) => piece("answers", number);
  const name = (list, at) => (at < 0 ? "" : list[at]);

  // The same characters as in words.py: those that hide, reorder or fake text are shown by their code.
  const HIDDEN =
    /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/gu;
  const visible = (text) =>
    text.replace(HIDDEN, (c) => `[U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);

  const make = (tag, css, text) => {
    const element = document.createElement(tag);
    if (css) element.className = css;
    if (text !== undefined) element.textContent = visible(text);
    return element;
  };
  const isolated = (css, text) => {
    const element = make("bdi", css, text);
    element.dir = "auto";
    return element;
  };
  const turnsText = (k) => (k === 1 ? "1 turn" : `${k} turns`);

  /* A stored text: itself, [beginning, number of characters cut], or null where the page had no room. */
  const textBlock = (stored) => {
    if (stored === null) return make("p", "cut", "This text is left out: the page would be too large. It is in run.sqlite.");
    const whole = typeof stored === "string";
    const text = whole ? stored : stored[0];
    const block = make("div", "text", text);
    block.dir = "auto";
    if (!text.trim()) block.append(make("em", "", "(empty)"));
    if (whole) return block;
    const both = document.createDocumentFragment();
    both.append(block, make("p", "cut", `Cut here: ${stored[1].toLocaleString("en")} more characters in run.sqlite.`));
    return both;
  };
  const message = (css, role, stored) => {
    const box = make("div", `message ${css}`);
    box.append(make("h4", "", role), textBlock(stored));
    return box;
  };

  const fill = (body, row, number) => {
    const dialogue = dialogueOf(row);
    if (!dialogue) return;
    const [question, messages] = dialogue;
    const [response, reasoning] = answerOf(number);
    if (row[IMAGE] >= 0) {
      const image = make("img", "picture");
      image.alt = "The picture shown with the first turn";
      image.src = data("thumbnails")[row[IMAGE]];
      body.append(image);
    } else if (row[IMAGE] === -2) {
      body.append(make("p", "cut", "The picture cannot be shown: its file is gone or changed, or the page had no room."));
    }
    const label = name(index.labels, row[LABEL]);
    const twin = label === "benign twin";
    body.append(message("query", twin ? "Harmless query" : "Query, as the judge is told", question));
    messages.forEach((text, i) => {
      const user = i % 2 === 0;
      body.append(message(user ? "user" : "assistant", `${user ? "User" : "Assistant, scripted"}, turn ${Math.floor(i / 2) + 1}`, text));
    });
    const cause = name(index.causes, row[CAUSE]);
    const who = index.runs[row[RUN]];
    if (response === null) body.append(make("p", "cut", cause ? `No response: ${cause}.` : "No response yet."));
    else body.append(message("response", `Response of ${who}`, response[0]));
    const verdict = make("p", "verdict");
    if (twin) verdict.append("A harmless twin is not judged: what counts is whether it was turned away. It was ", make("strong", "", name(index.outcomes, row[OUTCOME]) || "not asked yet"), ".");
    else verdict.append("Judged ", make("strong", `label ${label.replaceAll(" ", "-")}`, label), cause ? ` (${visible(cause)})` : "", reasoning === "" ? "" : ". The judge’s words:");
    body.append(verdict);
    if (reasoning !== "") body.append(message("judge", "Judge", reasoning));
  };

  const entry = (number) => {
    const row = index.rows[number];
    const label = name(index.labels, row[LABEL]);
    const item = make("li");
    const opens = row[DIALOGUE] >= 0;
    const box = make(opens ? "details" : "div", "sample");
    const head = make(opens ? "summary" : "div", "head");
    if (opens) {
      const frame = make("span", "frame");
      if (row[IMAGE] >= 0) {
        const image = make("img");
        image.alt = "";
        image.src = data("thumbnails")[row[IMAGE]];
        frame.append(image);
      }
      head.append(frame);
    }
    const words = make("span", "words");
    const first = make("span", "first");
    const scenario = name(index.scenarios, row[SCENARIO]);
    first.append(isolated("scenario", scenario || row[ID]), make("span", "", turnsText(row[TURNS])));
    const method = name(index.methods, row[METHOD]);
    if (method) first.append(make("span", "", method));
    const second = make("span", "second");
    if (scenario) second.append(isolated("id", row[ID]));
    if (index.runs.length > 1) second.append(isolated(`run s${row[RUN] % 8}`, index.runs[row[RUN]]));
    words.append(first, second);
    const marks = make("span", "marks");
    marks.append(make("span", `label ${label.replaceAll(" ", "-")}`, label));
    const outcome = name(index.outcomes, row[OUTCOME]);
    if (outcome) marks.append(make("span", "outcome", outcome));
    head.append(words, marks);
    box.append(head);
    if (opens) {
      const body = make("div", "body");
      box.append(body);
      box.addEventListener("toggle", () => {
        if (box.open && !body.hasChildNodes()) fill(body, row, number);
      });
    }
    item.append(box);
    return item;
  };

  const form = byId("filters");
  const search = byId("search");
  const shown = byId("shown");
  const list = byId("list");
  const pager = byId("pager");
  const filters = [
    ["by-run", RUN, index.runs, "All runs"],
    ["by-scenario", SCENARIO, index.scenarios, "All scenarios"],
    ["by-turns", TURNS, null, "All"],
    ["by-method", METHOD, index.methods, "All methods"],
    ["by-label", LABEL, index.labels, "All labels"],
    ["by-outcome", OUTCOME, index.outcomes, "All outcomes"],
  ].filter(([id]) => byId(id));
  const option = (select, value, text) => {
    const element = make("option", "", text);
    element.value = value;
    select.append(element);
  };
  for (const [id, column, names, all] of filters) {
    const select = byId(id);
    option(select, "", all);
    const values = [...new Set(index.rows.map((row) => row[column]))];
    const text = (value) => (names === null ? turnsText(value) : value < 0 ? "none" : names[value]);
    if (names === null) values.sort((a, b) => a - b);
    else if (column !== RUN) values.sort((a, b) => text(a).localeCompare(text(b), "en"));
    for (const value of values) option(select, value, text(value));
    if (values.length < 2) select.disabled = true;
  }

  let found = [];
  let page = 0;
  const pages = () => Math.max(1, Math.ceil(found.length / PAGE));
  const show = (to) => {
    page = Math.min(Math.max(to, 0), pages() - 1);
    const start = page * PAGE;
    const rows = found.slice(start, start + PAGE);
    list.replaceChildren(...rows.map(entry));
    const of = `${found.length.toLocaleString("en")} of ${index.rows.length.toLocaleString("en")} samples`;
    const part = found.length > PAGE ? `; showing ${(start + 1).toLocaleString("en")}–${(start + rows.length).toLocaleString("en")}` : "";
    shown.textContent = (found.length === index.rows.length ? `${found.length.toLocaleString("en")} samples` : of) + part;
    pager.hidden = found.length <= PAGE;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page === pages() - 1;
  };

  const plain = (stored) => (stored === null ? "" : typeof stored === "string" ? stored : stored[0]);
  const holds = (row, number, wanted) => {
    const has = (text) => text.toLowerCase().includes(wanted);
    if (has(row[ID])) return true;
    const dialogue = dialogueOf(row);
    if (!dialogue) return false;
    if (has(plain(dialogue[0])) || dialogue[1].some((text) => has(plain(text)))) return true;
    const [response, reasoning] = answerOf(number);
    return (response !== null && has(plain(response[0]))) || has(plain(reasoning));
  };

  let latest = 0;
  const apply = async () => {
    const mine = ++latest;
    const wanted = search.value.trim().toLowerCase();
    const chosen = filters.map(([id, column]) => [column, byId(id).value]).filter(([, value]) => value !== "");
    const rows = [];
    for (let number = 0; number < index.rows.length; number++) {
      const row = index.rows[number];
      if (wanted && number % SLICE === SLICE - 1) {
        // The page stays alive while much text is searched; a newer search ends this one.
        shown.textContent = "Searching…";
        await new Promise((resolve) => setTimeout(resolve));
        if (mine !== latest) return;
      }
      if (chosen.every(([column, value]) => row[column] === Number(value)) && (!wanted || holds(row, number, wanted))) rows.push(number);
    }
    found = rows;
    show(0);
  };

  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(apply, 150);
  });
  for (const [id] of filters) byId(id).addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { blur(); apply(); }));
  const box = byId("blur");
  const blur = () => list.classList.toggle("blurred", Boolean(box && box.checked));
  if (box) box.addEventListener("change", blur);
  const turn = (by) => {
    show(page + by);
    byId("dialogues").scrollIntoView();
    const target = byId(by < 0 ? "previous" : "next");
    if (target.disabled) byId(by < 0 ? "next" : "previous").focus({ preventScroll: true });
  };
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  form.hidden = false;
  blur();
  apply();
})();
