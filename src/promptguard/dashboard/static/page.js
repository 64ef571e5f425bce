// Improves the page, which works without: live update, keys, copying, folds that stay as they were. No library, no build.
"use strict";
(() => {
  const every = 5000;
  const live = document.querySelector(".live");
  const words = document.querySelector("[data-live]");
  const stored = (key, value) => {
    try {
      if (value === undefined) return sessionStorage.getItem(key);
      sessionStorage.setItem(key, value);
    } catch { /* a browser without storage forgets */ }
    return null;
  };

  function furnish(root) {
    for (const fold of root.querySelectorAll("details[data-keep]")) {
      const key = location.pathname + "#" + fold.dataset.keep;
      const known = stored(key);
      if (known !== null) fold.open = known === "1";
      fold.addEventListener("toggle", () => stored(key, fold.open ? "1" : "0"));
    }
    if (navigator.clipboard) {
      for (const button of root.querySelectorAll("[data-copy]")) {
        button.hidden = false;
        button.addEventListener("click", async () => {
          await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
          button.textContent = "Copied";
          setTimeout(() => { button.textContent = "Copy"; }, 1500);
        });
      }
    }
  }

  function busy() {
    const active = document.activeElement;
    return document.hidden || (active && /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName)) || String(getSelection());
  }

  function said(state, text) {
    live.className = "live " + state;
    if (text) words.textContent = text;
  }

  // Asks for a short text; only when it is another one is the page itself asked for again.
  async function look() {
    if (busy()) return;
    try {
      const state = await (await fetch("/state", { cache: "no-store" })).text();
      if (state !== document.body.dataset.state) {
        const answer = await fetch(location.href, { cache: "no-store" });
        if (!answer.ok || busy()) return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const open = [...document.querySelectorAll("main details")].map((each) => each.open);
        document.querySelector("main").replaceWith(fresh.querySelector("main"));
        const all = document.querySelectorAll("main details");
        if (all.length === open.length) all.forEach((each, place) => { each.open = open[place]; });
        document.title = fresh.title;
        document.body.dataset.state = fresh.body.dataset.state;
        furnish(document.querySelector("main"));
        said("on", fresh.querySelector("[data-live]").textContent);
      } else {
        said("on", "as of " + new Date().toISOString().slice(11, 19) + " UTC");
      }
    } catch {
      said("lost", "the server has ended");
    }
  }

  const pages = { o: "/", v: "/prompts", r: "/rollouts", p: "/pairs", i: "/identities", c: "/cost", u: "/unmeasured", a: "/actions" };
  let going = false;
  function move(step) {
    const all = [...document.querySelectorAll("[data-row]")].filter((each) => each.offsetParent !== null);
    if (!all.length) return;
    const at = all.findIndex((each) => each.classList.contains("at"));
    const next = all[Math.min(all.length - 1, Math.max(0, at + step))];
    if (at >= 0) all[at].classList.remove("at");
    next.classList.add("at");
    next.scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (going && pages[event.key]) { location.assign(pages[event.key]); return; }
    going = event.key === "g";
    if (event.key === "/") {
      const field = document.querySelector("[data-search]");
      if (field) { event.preventDefault(); field.focus(); field.select(); }
    } else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "Enter" && event.target === document.body) {
      const link = document.querySelector("[data-row].at a[href]");
      if (link) link.click();
    }
  });

  // On paper everything is unfolded.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));

  furnish(document);
  for (const each of document.querySelectorAll("[data-keys]")) each.hidden = false;
  setInterval(look, every);
  document.addEventListener("visibilitychange", look);
})();
