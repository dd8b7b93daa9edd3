// What the pages do beyond links and forms: local times, copying, keys, questions in a dialog,
// and what is new from the server. Without it, every page works still.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("script");
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // ---- times: in the browser's zone, with its offset --------------------------------------
  const two = (number) => String(number).padStart(2, "0");
  const offset = (at) => {
    const minutes = -at.getTimezoneOffset();
    const size = Math.abs(minutes);
    return (minutes < 0 ? "-" : "+") + two(Math.floor(size / 60)) + ":" + two(size % 60);
  };
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const ago = (at) => {
    const seconds = (at - Date.now()) / 1000;
    const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]]
      .find(([, each]) => Math.abs(seconds) >= each) ?? ["second", 1];
    return relative.format(Math.round(seconds / size), unit);
  };
  const showTimes = (within) => {
    for (const each of all("time[datetime]", within)) {
      const at = new Date(each.dateTime);
      if (isNaN(at)) continue;
      if (!each.dataset.local) {
        each.dataset.local = "yes";
        const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
        const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
        const zone = document.createElement("span");
        zone.className = "offset";
        zone.textContent = offset(at);
        each.replaceChildren(day + " " + clock + " ", zone);
      }
      each.title = ago(at) + " · " + each.dateTime;
    }
  };

  // ---- what is said for a moment ----------------------------------------------------------
  const notice = find("#notice");
  let toast = 0;
  const say = (text) => {
    clearTimeout(toast);
    // Nothing else is seen or read out while a dialog is open.
    (find("dialog[open]") ?? document.body).append(notice);
    notice.textContent = text;
    toast = setTimeout(() => { notice.textContent = ""; }, 6000);
  };
  const sentence = (page) =>
    [find("h1", page), find("h1 + p", page)].map((each) => each?.textContent).filter(Boolean).join(". ");
  document.addEventListener("htmx:responseError", (event) => {
    const said = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    say(sentence(said) || "That failed with status " + event.detail.xhr.status + ".");
  });
  document.addEventListener("htmx:sendError", () => say("relay does not answer. Try again in a moment."));
  document.addEventListener("htmx:configRequest", (event) => {
    const token = find("meta[name=form-token]");
    if (token) event.detail.headers["X-Form-Token"] = token.content;
    if (event.detail.verb !== "get") return;
    for (const [name, text] of Object.entries(event.detail.parameters)) {
      if (text === "") delete event.detail.parameters[name];
    }
  });

  // ---- copying, questions, rows -----------------------------------------------------------
  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      const text = button.dataset.copy;
      say("Copied " + (text.length > 80 ? text.slice(0, 80) + "…" : text));
    } catch {
      say("This browser does not let the page copy. Select the text instead.");
    }
  };
  const ask = async (href) => {
    const box = find("#dialog");
    try {
      const answer = await fetch(href, { headers: { Accept: "text/html" } });
      const said = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.status === 409) return say(sentence(said));
      const question = find(".confirm", said);
      if (!answer.ok || !question) throw new Error("no question");
      box.replaceChildren(question);
      showTimes(box);
      box.showModal();
      find("[autofocus]", box)?.focus();
    } catch {
      location.assign(href);
    }
  };
  document.addEventListener("click", (event) => {
    const at = event.target.closest("[data-copy], [data-dialog], [data-close], [data-help], [data-show]");
    if (at?.matches("[data-copy]")) copy(at);
    else if (at?.matches("[data-help]")) find("#help").showModal();
    else if (at?.matches("[data-show]")) refresh({ insert: true });
    else if (at?.matches("[data-dialog]") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      ask(at.href);
    } else if (at?.matches("[data-close]") && at.closest("dialog")) {
      event.preventDefault();
      at.closest("dialog").close();
    } else if (!event.target.closest("a, button, input, select, label, summary") && !getSelection().toString()) {
      const row = event.target.closest("tr[data-row]");
      if (row) find("[data-open]", row)?.click();
    }
  });
  // A form is sent once, however often its button is pressed; and not into the void, where what
  // was chosen would be lost with the page.
  let away = false;
  const unsend = (form) => {
    delete form.dataset.sent;
    for (const button of all("button", form)) button.removeAttribute("aria-disabled");
  };
  const sendOnceBack = async (form) => {
    try {
      await fetch("/livez");
      form.submit();
    } catch {
      unsend(form);
      say("relay does not answer. Nothing was sent; try again in a moment.");
    }
  };
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    const again = event.target.dataset.sent;
    if (again || away) event.preventDefault();
    event.target.dataset.sent = "yes";
    for (const button of all("button", event.target)) button.setAttribute("aria-disabled", "true");
    if (away && !again) sendOnceBack(event.target);
  });
  addEventListener("pageshow", () => all("form[data-sent]").forEach(unsend));

  // ---- keys -------------------------------------------------------------------------------
  const selected = () => find("tr.selected");
  const mark = (row) => {
    selected()?.removeAttribute("aria-current");
    selected()?.classList.remove("selected");
    row.classList.add("selected");
    row.setAttribute("aria-current", "true");
  };
  const select = (row) => {
    if (!row) return;
    mark(row);
    find("[data-open]", row)?.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const step = (by) => {
    const rows = all("tr[data-row]");
    const at = rows.indexOf(selected());
    select(rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by))]);
  };
  const requeue = () => {
    const open = selected() && find("[data-open]", selected());
    const target = open ? open.getAttribute("href") + "/requeue" : find("[data-requeue]")?.getAttribute("href");
    if (target?.startsWith("/events/")) ask(target);
  };
  const keys = {
    "/": () => { find("#find")?.focus(); find("#find")?.select(); },
    j: () => step(1),
    k: () => step(-1),
    r: () => { if (document.body.matches("[data-acts]")) requeue(); },
    "?": () => find("#help")?.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, [contenteditable]");
    if (event.key === "Escape" && typing) typing.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
    if (event.key === "Enter" && selected() && event.target === document.body) {
      find("[data-open]", selected())?.click();
    } else if (Object.hasOwn(keys, event.key)) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  // ---- what is new ------------------------------------------------------------------------
  // An element with an id and `data-live` is replaced by its newer self when the server tells of
  // something; with `data-live="rows"`, rows are updated in place and new ones come on top.
  const live = () => all("[data-live][id]");
  // What the server has sent of each, before anything here has changed it.
  const sent = new Map();
  const remember = (within) => {
    for (const each of all("[data-live][id], tr[data-row][id]", within)) sent.set(each.id, each.innerHTML);
  };
  let waiting = 0;
  let asked = 0;
  const onTop = () => scrollY < 150 && !selected() && !find("dialog[open]");
  const updateRows = (old, fresh, insert) => {
    const body = find("tbody", old);
    const newer = all("tr[data-row]", fresh);
    if (!body || !newer.length) {
      if (fresh.innerHTML !== sent.get(old.id)) old.replaceWith(fresh);
      return remember(document);
    }
    const fitting = newer.filter((row) => !document.getElementById(row.id));
    for (const row of newer) {
      const known = document.getElementById(row.id);
      if (known && sent.get(row.id) !== row.innerHTML) {
        sent.set(row.id, row.innerHTML);
        const focused = known.contains(document.activeElement);
        known.replaceChildren(...row.childNodes);
        if (focused) find("[data-open]", known)?.focus({ preventScroll: true });
      }
    }
    find(".arrivals", old)?.remove();
    if (!fitting.length) return;
    if (insert || onTop()) {
      for (const row of fitting) {
        sent.set(row.id, row.innerHTML);
        row.classList.add("arrived");
      }
      body.prepend(...fitting);
      for (const row of all("tr[data-row]", body).slice(200)) row.remove();
      return;
    }
    const bar = document.createElement("div");
    bar.className = "arrivals";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "main";
    button.dataset.show = "";
    const many = fitting.length === newer.length ? fitting.length + " or more" : fitting.length;
    button.textContent = many + (fitting.length === 1 ? " new event" : " new events");
    bar.append(button);
    old.prepend(bar);
  };
  // A person who is on the way to another page is not taken anywhere else.
  let leaving = 0;
  addEventListener("beforeunload", () => { leaving = Date.now(); });
  const toLogin = (address) => { if (Date.now() - leaving > 5000) location.assign(address); };
  const refresh = async ({ insert = false } = {}) => {
    asked = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected && new URL(answer.url).pathname === "/login") return toLogin(answer.url);
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const old of live()) {
        const fresh = page.getElementById(old.id);
        if (!fresh) continue;
        if (old.dataset.live === "rows") updateRows(old, fresh, insert);
        else if (fresh.innerHTML !== sent.get(old.id)) {
          sent.set(old.id, fresh.innerHTML);
          old.replaceWith(fresh);
        }
      }
      if (insert) { selected()?.classList.remove("selected"); scrollTo({ top: 0 }); }
      showTimes(document);
    } catch { /* the connection says so */ }
  };
  const soon = () => {
    if (waiting || document.hidden || !stream) return;
    waiting = setTimeout(() => { waiting = 0; refresh(); }, Math.max(150, 1000 - (Date.now() - asked)));
  };

  const told = (message) => {
    const { id } = JSON.parse(message.data);
    // What is about one event alone waits for news of that one.
    if (!id || live().some((each) => ["", "rows", id].includes(each.dataset.live))) soon();
  };

  const state = (text, on) => {
    find("#connection").textContent = text;
    away = !on;
    for (const each of all(".live")) {
      each.classList.toggle("on", on);
      each.textContent = on ? "live" : "not live";
      each.hidden = false;
    }
  };
  let stream = null;
  let again = 0;
  const disconnect = () => {
    clearTimeout(again);
    stream?.close();
    stream = null;
  };
  const source = document.body.dataset.stream;
  const connect = () => {
    stream = new EventSource(source);
    stream.addEventListener("open", () => {
      state("", true);
      // What happened while the page was on its way, or relay was away, is told by nobody else.
      refresh();
    });
    for (const kind of ["delivery", "attempt", "act", "reload", "dropped"]) stream.addEventListener(kind, told);
    stream.addEventListener("error", () => {
      if (stream.readyState !== EventSource.CLOSED) {
        return state("relay is restarting… reconnecting", false);
      }
      retry();
    });
  };
  // A browser gives a stream up for good when it is answered with an error.
  const retry = async () => {
    try {
      const stop = new AbortController();
      const answer = await fetch(source, { signal: stop.signal });
      stop.abort();
      if (answer.status === 401) return toLogin("/login?next=" + encodeURIComponent(location.pathname + location.search));
      if (!answer.ok) {
        state("This page is not live at the moment; it tries again.", false);
        again = setTimeout(connect, 10000);
        return;
      }
    } catch { /* it is not back yet */ }
    state("relay is restarting… reconnecting", false);
    again = setTimeout(connect, 1500);
  };

  remember(document);
  showTimes(document);
  const here = new URL(location.href);
  // What was searched for opens with the next Enter.
  const first = here.searchParams.has("find") && find("tr[data-row]");
  if (first) mark(first);
  // A browser that follows a link from elsewhere sends no session along; from here it does.
  const next = find("[data-login] [name=next]")?.value;
  if (next) {
    fetch(location.href, { redirect: "manual" })
      .then((answer) => { if (answer.type === "opaqueredirect") location.replace(next); })
      .catch(() => { /* the form is there */ });
  }
  // What was just done is told once, and not again when the page is loaded anew.
  if (here.searchParams.has("requeued")) {
    here.searchParams.delete("requeued");
    history.replaceState(history.state, "", here);
  }
  setInterval(() => showTimes(document), 30000);
  document.addEventListener("htmx:afterSwap", () => {
    remember(document);
    showTimes(document);
  });
  // Browsers keep few connections to one host: a page that nobody sees holds none.
  const follow = () => {
    if (!source || !live().length) return;
    if (document.hidden) return disconnect();
    if (!stream) connect();
  };
  document.addEventListener("visibilitychange", () => {
    follow();
    if (!document.hidden && stream) soon();
  });
  addEventListener("pageshow", follow);
  addEventListener("pagehide", disconnect);
})();
