"use strict";
// All of the page is there without this script. With it tables are sorted and filtered, and a
// cell opens over the table. Text from the page is only ever put back as text: no innerHTML.
(() => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const button = (label, action, properties = {}) => {
    const element = make("button", { type: "button", ...properties }, label);
    element.addEventListener("click", action);
    return element;
  };

  // What changes on the page is said here, for those who hear it.
  const status = make("p", { className: "heard" });
  status.setAttribute("role", "status");
  document.body.append(status);
  const say = (words) => { status.textContent = words; };

  // -- sorting: within each part of the table, since points lost are no accuracies ------------

  const WORDS = { descending: "most harm first", ascending: "least harm first", none: "as run" };
  const NAMES = { descending: "Z to A", ascending: "A to Z", none: "as run" };

  function sort(table, column, direction) {
    const key = (row) => column === 0
      ? row.cells[0].textContent
      : Number(row.cells[column].dataset.harm ?? NaN);
    const sign = direction === "descending" ? -1 : 1;
    const compare = (a, b) => {
      if (direction === "none") return a.dataset.place - b.dataset.place;
      const [x, y] = [key(a), key(b)];
      if (column === 0) return sign * x.localeCompare(y);
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);  // what is equal stays in its order
    };
    for (const body of table.tBodies) body.append(...rows(body).sort(compare));
    const heads = table.tHead.rows[0].cells;
    for (const head of heads) head.removeAttribute("aria-sort");
    if (direction !== "none") heads[column].setAttribute("aria-sort", direction);
    const words = column === 0 ? NAMES : WORDS;
    say(`${heads[column].textContent}: ${words[direction]}`);
  }

  const rows = (part) => [...part.querySelectorAll("tr[data-attack]")];

  function makeSortable(table) {
    rows(table).forEach((row, place) => { row.dataset.place = place; });
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const order = column === 0
        ? ["ascending", "descending", "none"] : ["descending", "ascending", "none"];
      const sorter = button("", () => {
        const now = order.indexOf(head.getAttribute("aria-sort") ?? "none");
        sort(table, column, order[(now + 1) % order.length]);
      }, { className: "sort", title: column === 0 ? "sort by name" : "sort by harm" });
      sorter.append(...head.childNodes);
      head.append(sorter);
    });
  }

  // -- filters ------------------------------------------------------------------------------

  function makeFilters(table) {
    const heads = [...table.tHead.rows[0].cells].slice(1);
    const all = rows(table);
    const names = (key) => [...new Set(all.map((row) => row.dataset[key]).filter(Boolean))];
    const filters = [
      filter("Attacks", names("attack"), apply),
      filter("Defenses", heads.map((head) => head.textContent), apply),
      filter("Threats", names("threat"), apply),
    ];
    const [attacks, defenses, threats] = filters;

    function apply() {
      for (const row of all) {  // the clean row has neither attack nor threat, and stays
        const { attack, threat } = row.dataset;
        row.hidden = Boolean(attack && attacks.hides(attack) || threat && threats.hides(threat));
        row.classList.toggle("shown", !row.hidden);
      }
      heads.forEach((head, k) => {
        head.hidden = defenses.hides(head.textContent);
        for (const row of all) row.cells[k + 1].hidden = head.hidden;
      });
      const count = all.filter((row) => !row.hidden).length;
      const columns = heads.filter((head) => !head.hidden).length;
      const whole = count === all.length && columns === heads.length;
      left.textContent = whole
        ? "" : `${count} of ${all.length} rows, ${columns} of ${heads.length} defenses`;
      say(left.textContent || "everything is shown");
    }

    const left = make("span", { className: "left" });
    const useful = filters.filter((one) => one.count > 1).map((one) => one.element);
    return [...useful, left];
  }

  function filter(title, values, changed) {
    const boxes = values.map((value) => make("input", { type: "checkbox", checked: true, value }));
    const count = make("span");
    const update = () => {
      const shown = boxes.filter((box) => box.checked).length;
      count.textContent = shown === boxes.length ? "" : ` ${shown} of ${boxes.length}`;
      changed();
    };
    const every = (checked) => () => {
      boxes.forEach((box) => { box.checked = checked; });
      update();
    };
    boxes.forEach((box) => box.addEventListener("change", update));
    const labels = boxes.map((box) => make("label", {}, box, make("span", {}, box.value)));
    const choice = make("fieldset", {}, make("legend", {}, `${title} shown`),
      make("div", {}, button("all", every(true)), button("none", every(false))), ...labels);
    const element = make("details", { className: "filter" },
      make("summary", {}, title, count), choice);
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !element.open) return;
      element.open = false;
      element.querySelector("summary").focus();
    });
    // One menu at a time; it closes when the focus or the pointer goes elsewhere.
    document.addEventListener("pointerdown", (event) => {
      if (!element.contains(event.target)) element.open = false;
    });
    element.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !element.contains(event.relatedTarget)) element.open = false;
    });
    const hidden = (value) => !boxes.find((box) => box.value === value).checked;
    return { element, count: boxes.length, hides: hidden };
  }

  // -- from cell to cell by the arrow keys ----------------------------------------------------

  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  function makeWalkable(table) {
    table.addEventListener("keydown", (event) => {
      const cell = event.target.closest("td");
      if (!cell || !STEPS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      const [down, right] = STEPS[event.key];
      const shown = rows(table).filter((row) => !row.hidden);
      let [y, x] = [shown.indexOf(cell.parentElement) + down, cell.cellIndex + right];
      for (; shown[y]?.cells[x]; y += down, x += right) {  // on to the next that can be opened
        const next = !shown[y].cells[x].hidden && shown[y].cells[x].querySelector("a");
        if (!next) continue;
        next.focus();
        event.preventDefault();
        return;
      }
    });
  }

  // -- a cell's story over the table; its address is #cell=ATTACK/DEFENSE ---------------------

  const title = make("div", { className: "steps" });
  const inside = make("div");
  const dialog = make("dialog", {}, make("div", { className: "bar" }, title,
    button("Close", () => dialog.close(), { className: "close" })), inside);
  dialog.setAttribute("aria-label", "One cell");
  document.body.append(dialog);
  const untitled = document.title;
  let home = null;  // where the story that is open stands in the page

  function named() {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch {
      return "";  // an address that somebody has cut off
    }
  }

  const linkTo = (id) => [...document.querySelectorAll("table.grid a")]
    .find((a) => decodeURIComponent(a.hash.slice(1)) === id);

  function putBack() {
    if (home) home.append(...inside.childNodes);
    home = null;
  }

  function show() {
    const id = named();
    if (!id.startsWith("cell=")) {
      if (dialog.open) close();
      return;
    }
    const open = inside.firstElementChild;
    if (open?.id === id) return;
    putBack();
    const article = document.getElementById(id);
    if (!article?.matches("article")) {
      if (dialog.open) close();
      say(`There is no ${id} on this page`);
      return;
    }
    home = article.parentElement;
    home.open = false;
    inside.append(article);
    title.replaceChildren(...steps(id));
    document.title = `${article.querySelector("h3").textContent} · ${untitled}`;
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    article.querySelector("h3").focus({ preventScroll: true });
  }

  // To the same attack against the defenses beside this one; Back still leads to the table.
  function steps(id) {
    const cell = linkTo(id)?.closest("td");
    if (!cell) return [];
    const beside = (next) => {
      let other = cell[next];
      while (other && (other.hidden || !other.querySelector("a"))) other = other[next];
      return other?.querySelector("a");
    };
    const heads = cell.closest("table").tHead.rows[0].cells;
    const step = (a, before, after) => a && button(
      `${before}${heads[a.closest("td").cellIndex].textContent}${after}`,
      () => { history.replaceState(history.state, "", a.hash); show(); });
    return [
      step(beside("previousElementSibling"), "← ", ""),
      step(beside("nextElementSibling"), "", " →"),
    ].filter(Boolean);
  }

  // Not left to the event, which comes later: by then the story may be open again.
  function close() {
    dialog.close();
    left();
  }

  function left() {
    const id = inside.firstElementChild?.id;
    putBack();
    document.title = untitled;
    if (named() === id) {  // closed by hand: the address follows
      if (history.state?.fromTable) history.back();
      else history.replaceState(null, "", location.href.split("#")[0]);
    }
    linkTo(id)?.focus();
  }

  dialog.addEventListener("close", () => { if (!dialog.open) left(); });
  dialog.addEventListener("click", (event) => {  // beside the story
    if (event.target === dialog) dialog.close();
  });
  document.addEventListener("click", (event) => {
    const a = event.target.closest("a[href^='#cell=']");
    if (!a || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();  // or the page would scroll to where the story stands
    history.pushState({ fromTable: true }, "", a.hash);
    show();
  });
  addEventListener("popstate", show);
  addEventListener("hashchange", show);

  // -- copying a command ----------------------------------------------------------------------

  function copy(code, pressed) {
    const done = () => {
      pressed.textContent = "Copied";
      say("Copied");
      setTimeout(() => { pressed.textContent = "Copy"; }, 2000);
    };
    const select = () => {  // where the clipboard is not to be had: ready for Ctrl+C
      getSelection().selectAllChildren(code);
      say("Selected; copy it by Ctrl+C");
    };
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select);
    else select();
  }

  for (const code of document.querySelectorAll("pre > code")) {
    const press = button("Copy", () => copy(code, press), { className: "copy" });
    const [command, place] = [code.parentElement, make("div", { className: "command" })];
    command.replaceWith(place);
    place.append(command, press);
  }

  for (const sheet of document.querySelectorAll(".sheet")) {
    const table = sheet.querySelector("table.grid");
    sheet.querySelector(".controls").prepend(...makeFilters(table));
    makeSortable(table);
    makeWalkable(table);
  }
  show();
})();
