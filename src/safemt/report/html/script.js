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
  const number = (n) => n.toLocaleString("en");
  const turnsText = (k) => (k === 1 ? "1 turn" : `${k} turns`);

  // The same characters as in text.py: those that hide, reorder or fake text are shown by their code.
  const HIDDEN = new RegExp(
    "[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u061c\\u180e\\u200b\\u200e\\u200f" +
      "\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\u{e0000}-\\u{e007f}]",
    "gu",
  );
  const visible = (text) =>
    text.replace(HIDDEN, (c) => `[U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);

  const make = (tag, css = "", text = "", more = {}) => {
    const element = document.createElement(tag);
    if (css) element.className = css;
    element.textContent = visible(text);
    return Object.assign(element, more);
  };
  const isolated = (css, text) => make("bdi", css, text, { dir: "auto" });
  const labelled = (label) => make("strong", `label ${label.replaceAll(" ", "-")}`, label);

  /* A stored text: itself, [beginning, number of characters cut], or null where the page had no room. */
  const plain = (stored) => (stored === null ? "" : typeof stored === "string" ? stored : stored[0]);
  const message = (css, role, stored) => {
    const box = make("div", `message ${css}`);
    box.append(make("h4", "", role));
    if (stored === null) {
      box.append(make("p", "cut", "This text is left out: the page would be too large. It is in run.sqlite."));
      return box;
    }
    const block = make("div", "text", plain(stored), { dir: "auto" });
    if (!plain(stored).trim()) block.append(make("em", "", "(empty)"));
    box.append(block);
    if (typeof stored !== "string") {
      box.append(make("p", "cut", `Cut here: ${number(stored[1])} more characters in run.sqlite.`));
    }
    return box;
  };

  const fill = (body, row, at) => {
    const [question, messages] = dialogueOf(row);
    const [response, reasoning] = piece("answers", at);
    const [label, cause] = [row[LABEL], row[CAUSE]];
    const twin = label === "benign twin";
    if (row[IMAGE] >= 0) {
      const alt = "The picture shown with the first turn";
      body.append(make("img", "picture", "", { alt, src: data("thumbnails")[row[IMAGE]] }));
    } else if (row[IMAGE] === -2) {
      const gone = "The picture cannot be shown: its file is gone or changed, or the page had no room.";
      body.append(make("p", "cut", gone));
    }
    body.append(message("query", twin ? "Benign query" : "Query, as the judge sees it", question));
    messages.forEach((text, i) => {
      const [css, role] = i % 2 ? ["assistant", "Assistant, scripted"] : ["user", "User"];
      body.append(message(css, `${role}, turn ${Math.floor(i / 2) + 1}`, text));
    });
    if (response) body.append(message("response", `Response of ${index.runs[row[RUN]]}`, response[0]));
    else body.append(make("p", "cut", cause ? `No response: ${cause}.` : "No response yet."));
    const verdict = make("p", "verdict");
    if (twin) {
      const outcome = make("strong", "", row[OUTCOME] ?? "not asked yet");
      verdict.append("A benign twin is not judged. What counts is whether it was turned away: ", outcome, ".");
    } else {
      verdict.append("Judged ", labelled(label), cause ? ` (${visible(cause)})` : "");
      if (reasoning !== "") verdict.append(". The judge’s words:");
    }
    body.append(verdict);
    if (reasoning !== "") body.append(message("judge", "Judge", reasoning));
  };

  const entry = (at) => {
    const row = index.rows[at];
    const opens = row[DIALOGUE] >= 0;
    const head = make(opens ? "summary" : "div", "head");
    if (opens) {
      const frame = make("span", "frame");
      if (row[IMAGE] >= 0) frame.append(make("img", "", "", { alt: "", src: data("thumbnails")[row[IMAGE]] }));
      head.append(frame);
    }
    const [words, first, second] = ["words", "first", "second"].map((css) => make("span", css));
    first.append(isolated("scenario", row[SCENARIO] ?? row[ID]), make("span", "", turnsText(row[TURNS])));
    if (row[METHOD]) first.append(make("span", "", row[METHOD]));
    if (row[SCENARIO]) second.append(isolated("id", row[ID]));
    if (index.runs.length > 1) second.append(isolated(`run s${row[RUN] % 8}`, index.runs[row[RUN]]));
    words.append(first, second);
    const marks = make("span", "marks");
    marks.append(labelled(row[LABEL]), make("span", "outcome", row[OUTCOME] ?? ""));
    head.append(words, marks);
    const box = make(opens ? "details" : "div", "sample");
    box.append(head);
    if (opens) {
      const body = make("div", "body");
      box.append(body);
      box.addEventListener("toggle", () => {
        if (box.open && !body.hasChildNodes()) fill(body, row, at);
      });
    }
    const item = make("li");
    item.append(box);
    return item;
  };

  const list = byId("list");
  const form = byId("filters");
  const search = make("input", "", "", { type: "search", id: "search", autocomplete: "off", spellcheck: false });
  const field = (css, name, ...parts) => {
    const label = make("label", css, name);
    label.append(...parts);
    form.append(label);
  };
  field("grow", index.texts ? "Search in texts and ids" : "Search in ids", search);
  const filters = [
    ["run", RUN, "All runs"],
    ["scenario", SCENARIO, "All scenarios"],
    ["turns", TURNS, "All"],
    ["method", METHOD, "All methods"],
    ["label", LABEL, "All labels"],
    ["outcome", OUTCOME, "All outcomes"],
  ]
    .filter(([, column]) => column !== RUN || index.runs.length > 1)
    .map(([name, column, all]) => {
      const shown = { [RUN]: (at) => index.runs[at], [TURNS]: turnsText }[column] ?? ((value) => value ?? "none");
      const values = [...new Set(index.rows.map((row) => row[column]))];
      if (typeof values[0] === "number") values.sort((a, b) => a - b);
      else values.sort((a, b) => shown(a).localeCompare(shown(b), "en"));
      const select = make("select", "", "", { id: `by-${name}`, disabled: values.length < 2 });
      select.append(make("option", "", all, { value: "" }));
      values.forEach((value, at) => select.append(make("option", "", shown(value), { value: at })));
      field("", name[0].toUpperCase() + name.slice(1), select);
      return { column, select, values };
    });
  const blurred = make("input", "", "", { type: "checkbox", id: "blur", checked: true });
  const blur = () => list.classList.toggle("blurred", index.texts && blurred.checked);
  if (index.texts) field("check", "Blur pictures until opened", blurred);
  form.append(make("button", "", "Clear filters", { type: "reset" }));

  let found = [];
  let page = 0;
  const show = (to) => {
    const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
    page = Math.min(Math.max(to, 0), last);
    const rows = found.slice(page * PAGE, (page + 1) * PAGE);
    list.replaceChildren(...rows.map(entry));
    const all = index.rows.length;
    const start = page * PAGE;
    const part = found.length > PAGE ? `; showing ${number(start + 1)}–${number(start + rows.length)}` : "";
    const of = found.length === all ? "" : ` of ${number(all)}`;
    byId("shown").textContent = `${number(found.length)}${of} samples${part}`;
    byId("pager").hidden = found.length <= PAGE;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page === last;
  };

  const holds = (row, at, wanted) => {
    const has = (stored) => plain(stored).toLowerCase().includes(wanted);
    const dialogue = dialogueOf(row);
    if (has(row[ID])) return true;
    if (!dialogue) return false;
    const [response, reasoning] = piece("answers", at);
    return has(dialogue[0]) || dialogue[1].some(has) || (response !== null && has(response[0])) || has(reasoning);
  };

  let latest = 0;
  const apply = async () => {
    const mine = ++latest;
    const wanted = search.value.trim().toLowerCase();
    const chosen = filters.filter(({ select }) => select.value !== "");
    const fits = (row) => chosen.every(({ column, select, values }) => row[column] === values[select.value]);
    const rows = [];
    for (let at = 0; at < index.rows.length; at++) {
      if (wanted && at % SLICE === SLICE - 1) {
        // The page stays alive while much text is searched; a newer search ends this one.
        byId("shown").textContent = "Searching…";
        await new Promise((resolve) => setTimeout(resolve));
        if (mine !== latest) return;
      }
      if (fits(index.rows[at]) && (!wanted || holds(index.rows[at], at, wanted))) rows.push(at);
    }
    found = rows;
    show(0);
  };

  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(apply, 150);
  });
  for (const { select } of filters) select.addEventListener("change", apply);
  blurred.addEventListener("change", blur);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { blur(); apply(); }));
  const turn = (by) => {
    show(page + by);
    byId("dialogues").scrollIntoView();
    const [to, other] = by < 0 ? ["previous", "next"] : ["next", "previous"];
    if (byId(to).disabled) byId(other).focus({ preventScroll: true });
  };
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  form.hidden = false;
  blur();
  apply();
})();
