"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const query = new URLSearchParams(location.search);
  const STEADY = 300; // milliseconds in which a new pair takes no answer, so that a key pressed twice gives one
  const AGAIN = 2000; // milliseconds until a server that does not respond is asked again
  const GRADES = [["much", 3], ["clearly", 2], ["slightly", 1]];
  let about, rater, view, busy = true, shown = 0, seen = 0, since = null;

  // The server ------------------------------------------------------------------------------------------------------

  async function ask(path, body) {
    const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const reply = await fetch(path, { ...options, cache: "no-store", credentials: "omit" });
    const found = await reply.json();
    if (!reply.ok) throw Object.assign(new Error(found.error), { status: reply.status });
    return found;
  }

  function problem(text) { $("problem").textContent = text; }
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  // An answer that is not confirmed stays in the browser: a page that is opened again sends it again.
  const slot = () => `burnish label ${about.data} ${rater}`;
  const stored = {
    get() { try { return JSON.parse(localStorage.getItem(slot())); } catch { return null; } },
    set(value) { try { value ? localStorage.setItem(slot(), JSON.stringify(value)) : localStorage.removeItem(slot()); } catch { /* a browser that stores nothing */ } },
  };

  async function send(answer) {
    busy = true;
    disable(true);
    stored.set(answer);
    for (;;) {
      try {
        const next = await ask("answer", answer);
        stored.set(null);
        problem("");
        return show(next);
      } catch (error) {
        if (error.status === 403 || error.status === 404) {
          return problem("The server was started again: open the address that it printed. Your last answer is kept in this browser and sent from there.");
        }
        if ([400, 409, 413].includes(error.status)) { // it is not valid, or answered in another window: no later try helps
          stored.set(null);
          await load();
          return problem(`Your last answer was not saved: ${error.message}.`);
        }
        problem(error.status ? `${error.message}. Your answer is kept here and sent again.` : "The server does not respond. Your answer is kept here and sent again.");
        await pause(AGAIN);
      }
    }
  }

  async function load(place) {
    for (;;) {
      try {
        const where = place === undefined ? "" : `&place=${place}`;
        const found = await ask(`show?rater=${encodeURIComponent(rater)}${where}`);
        problem("");
        return show(found);
      } catch (error) {
        problem(error.status ? `${error.message}.` : "The server does not respond; it is asked again.");
        if (error.status && error.status < 500) return;
        await pause(AGAIN);
      }
    }
  }

  // Texts: whatever they hold is text, never markup -------------------------------------------------------------------

  function made(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function code(text) {
    const node = made("pre");
    node.tabIndex = 0;
    node.append(made("code", "", text));
    return node;
  }

  function pieces(block) {
    if (block.code) return [code(block.text)];
    if (!block.text.trim()) return [made("div", "empty", "(empty)")];
    const found = [];
    const fence = /^[ \t]*(`{3,}|~{3,})[^\n]*\n([\s\S]*?)(?:^[ \t]*\1[`~]*[ \t]*$\n?|$(?![\s\S]))/gm;
    let end = 0;
    const prose = (text) => {
      if (!text.trim()) return;
      const node = made("div", "prose", text.replace(/^\s*\n|\s+$/g, ""));
      node.dir = "auto";
      found.push(node);
    };
    for (const match of block.text.matchAll(fence)) {
      prose(block.text.slice(end, match.index));
      found.push(code(match[2].replace(/\n$/, "")));
      end = match.index + match[0].length;
    }
    prose(block.text.slice(end));
    return found;
  }

  function fill(node, blocks) {
    node.replaceChildren();
    for (const block of blocks) {
      const turn = made("div", "turn");
      if (block.role) turn.append(made("div", "role", block.role));
      turn.append(...pieces(block));
      node.append(turn);
    }
    node.scrollTop = 0;
    const scrolls = node.scrollHeight > node.clientHeight + 1; // a keyboard has to reach what it should scroll
    if (scrolls) node.tabIndex = 0; else node.removeAttribute("tabindex");
  }

  // A comparison ------------------------------------------------------------------------------------------------------

  function only(id) {
    for (const one of ["who", "work", "done"]) $(one).hidden = one !== id;
  }

  function show(next) {
    view = next;
    const spent = view.median_seconds === null ? "" : `, ${view.median_seconds} s each`;
    $("pace").textContent = `${rater}: ${view.answered} of ${view.places} answered${spent}`;
    if (view.finished) return finished();
    only("work");
    const where = `Comparison ${view.place + 1} of ${view.places}`;
    $("where").textContent = where;
    document.title = `${where} – Which answer is better?`;
    $("progress").max = view.places;
    $("progress").value = view.answered;
    for (const side of ["prompt", "left", "right"]) fill($(side), view[side]);
    $("note").value = (view.previous && view.previous.note) || "";
    $("back").disabled = view.place === 0;
    mark(view.previous);
    $("said").textContent = view.previous ? "You have answered this comparison before; a new answer replaces it." : "";
    shown = performance.now();
    seen = 0;
    since = document.hidden ? null : shown;
    busy = false;
    disable(false);
    window.scrollTo(0, 0);
    $("where").focus({ preventScroll: true });
  }

  function mark(previous) {
    for (const button of document.querySelectorAll("[data-verdict]")) {
      const same = previous && button.dataset.verdict === previous.verdict && (Number(button.dataset.strength) || null) === (previous.strength || null);
      if (previous) button.setAttribute("aria-pressed", String(Boolean(same))); else button.removeAttribute("aria-pressed");
    }
    for (const side of ["left", "right"]) $(`card-${side}`).classList.toggle("chosen", Boolean(previous && previous.verdict === side));
  }

  function disable(now) {
    for (const button of document.querySelectorAll(".verdict button")) button.disabled = now || (button.id === "back" && (!view || view.place === 0));
  }

  function seconds() {
    return (seen + (since === null ? 0 : performance.now() - since)) / 1000;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden && since !== null) { seen += performance.now() - since; since = null; }
    if (!document.hidden && since === null) since = performance.now();
  });

  function identity() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function decide(verdict, strength) {
    if (busy || performance.now() - shown < STEADY) return;
    send({
      id: identity(), rater, place: view.place, pair: view.pair, showing: view.showing, standing: view.standing, verdict, strength: strength || null,
      note: $("note").value, seconds: seconds(), revises: view.previous ? view.previous.id : null,
    });
  }

  function back() {
    if (busy || view.place === 0) return;
    busy = true;
    load(view.place - 1);
  }

  function finished() {
    only("done");
    document.title = "All comparisons are answered";
    $("done-text").textContent = `${rater} has answered all ${view.places}. They are saved.`;
    $("back-done").hidden = view.places === 0;
    busy = false;
    $("done").querySelector("h1").focus();
  }

  async function finish() {
    try {
      const { waiting } = await ask("finish", { rater });
      $("finish").disabled = true;
      $("done-text").textContent = waiting.length ? `Thank you. Others are still at work: ${waiting.join(", ")}.` : "Thank you. The server has ended, and this page can be closed.";
      if (!waiting.length) $("back-done").hidden = true;
    } catch (error) {
      problem(error.status ? `${error.message}.` : "The server does not respond.");
    }
  }

  // Buttons and keys --------------------------------------------------------------------------------------------------

  const keys = { z: back, Backspace: back, e: () => decide("tie"), x: () => decide("bad"), s: () => decide("skip"),
    n: () => $("note").focus(), g: () => { $("guide-details").open = !$("guide-details").open; } };

  function choices() {
    $("choices").classList.toggle("graded", about.strengths);
    for (const side of ["left", "right"]) {
      const group = made("div", "side");
      const words = side === "left" ? ["Left", "Upper"] : ["Right", "Lower"];
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", `${words[0]} answer is better`);
      const grades = about.strengths ? (side === "left" ? GRADES : [...GRADES].reverse()) : [["", null]];
      grades.forEach(([grade, strength], place) => {
        const button = made("button");
        const key = about.strengths ? String(side === "left" ? place + 1 : place + 5) : side === "left" ? "ArrowLeft" : "ArrowRight";
        const cap = { ArrowLeft: "←", ArrowRight: "→" }[key] || key;
        const label = made("span");
        label.append(made("span", "wide", words[0]), made("span", "narrow", words[1]), about.strengths ? ` ${grade}` : " is better");
        if (about.strengths) label.append(made("span", "wide", " better"));
        button.type = "button";
        button.dataset.verdict = side;
        if (strength) button.dataset.strength = strength;
        button.setAttribute("aria-keyshortcuts", key);
        button.append(label, " ", made("kbd", "", cap));
        keys[key] = () => decide(side, strength);
        group.append(button);
      });
      $("choices").append(group);
    }
    if (about.strengths) keys["4"] = keys.e;
    for (const button of document.querySelectorAll("[data-verdict]")) {
      button.addEventListener("click", () => decide(button.dataset.verdict, Number(button.dataset.strength) || null));
    }
  }

  document.addEventListener("keydown", (event) => {
    const inText = event.target instanceof HTMLTextAreaElement;
    if (inText && event.key === "Escape") return $("where").focus();
    if (inText || event.repeat || event.ctrlKey || event.metaKey || event.altKey || !$("keys").checked) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if ($("work").hidden) { if (!$("done").hidden && (key === "z" || key === "Backspace")) $("back-done").click(); return; }
    if (key.startsWith("Arrow") && event.target.closest && event.target.closest("pre, .text[tabindex]")) return; // it scrolls
    if (keys[key]) { event.preventDefault(); keys[key](); }
  });

  $("back").addEventListener("click", back);
  $("back-done").addEventListener("click", () => load(view.places - 1));
  $("finish").addEventListener("click", finish);

  function begin(name) {
    rater = name;
    const waiting = stored.get();
    if (waiting) send(waiting); else load();
  }

  async function start() {
    for (;;) {
      try { about = await ask("about"); break; } catch (error) {
        problem(error.status ? `${error.message}.` : "The server does not respond; it is asked again.");
        if (error.status && error.status < 500) return;
        await pause(AGAIN);
      }
    }
    problem("");
    $("work").classList.toggle("guided", Boolean(about.guideline));
    $("guide").hidden = !about.guideline;
    fill($("guideline"), [{ role: null, text: about.guideline || "" }]);
    $("guideline").tabIndex = 0;
    if (matchMedia("(max-width: 62rem)").matches) $("guide-details").open = false;
    try { $("keys").checked = localStorage.getItem("burnish label keys") !== "off"; } catch { /* the default */ }
    $("keys").addEventListener("change", () => { try { localStorage.setItem("burnish label keys", $("keys").checked ? "on" : "off"); } catch { /* for this page */ } });
    choices();
    const name = query.get("rater");
    if (name) return begin(name);
    if (about.raters.length === 1) return begin(about.raters[0]);
    only("who");
    for (const one of about.raters) {
      const button = made("button", "", one);
      button.type = "button";
      button.addEventListener("click", () => { history.replaceState(null, "", `?rater=${encodeURIComponent(one)}`); begin(one); });
      $("names").append(button);
    }
    $("who").querySelector("h1").focus();
  }

  start();
})();
