"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // The contents are closed where they stand above the page.
  const narrow = matchMedia("(max-width: 60rem)");
  const fold = () => { byId("toc").open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();

  // The filters.
  const form = byId("filters"), search = byId("search"), device = byId("device");
  const broken = byId("broken"), changed = byId("changed"), shown = byId("shown");
  const text = (element) => element.textContent.toLowerCase();
  const parts = all("section.part").map((part) => ({
    part,
    words: text(part.querySelector("h3")),
    claims: all("article.claim", part).map((claim) => ({
      claim,
      key: claim.id.toLowerCase(),
      notes: all("p.row", claim).map((row) => ({ row, words: text(row) })),
      tests: all("details.t", claim).map((test) => ({
        test,
        cells: all("summary > .c", test),
        changed: test.querySelector("summary .chip:not(.back)") !== null,
        words: null, // read when something is first searched for: it is half a megabyte
      })),
    })),
  }));
  const chapters = all("section.chapter");
  const isBroken = (cell) => ["broken", "crashed", "hung"].some((name) => cell.classList.contains(name));

  function fits(test, wanted, above) {
    const cells = device.value === "" ? test.cells : [test.cells[device.value]];
    if (device.value !== "" && !cells[0].textContent) return false;
    if (broken.checked && !cells.some(isBroken)) return false;
    if (changed.checked && !test.changed) return false;
    if (!wanted.length) return true;
    test.words ??= text(test.test);
    return wanted.every((word) => above.includes(word) || test.words.includes(word));
  }

  function filter() {
    const phrase = search.value.trim().toLowerCase();
    const key = parts.some((part) => part.claims.some((claim) => claim.key === phrase));
    const wanted = key ? [] : phrase.split(/\s+/).filter(Boolean);
    const plain = device.value === "" && !broken.checked && !changed.checked;
    let count = 0, total = 0;
    for (const part of parts) {
      let any = false;
      for (const claim of part.claims) {
        const above = `${claim.key} ${part.words}`;
        const here = !key || claim.key === phrase;
        let visible = false;
        for (const test of claim.tests) {
          const fit = here && fits(test, wanted, above);
          test.test.hidden = !fit;
          visible ||= fit;
        }
        for (const { row, words } of claim.notes) {
          const fit = here && plain &&
            wanted.every((word) => above.includes(word) || words.includes(word));
          row.hidden = !fit && !visible;
          visible ||= fit;
        }
        claim.claim.hidden = !visible;
        total += 1;
        count += visible;
        any ||= visible;
      }
      part.part.hidden = !any;
    }
    for (const chapter of chapters) {
      chapter.hidden = !chapter.querySelector("section.part:not([hidden])");
    }
    for (const link of all("#toc a[href^='#s']")) {
      const part = byId(link.hash.slice(1));
      link.classList.toggle("empty", part.hidden);
    }
    byId("nothing").hidden = count > 0;
    shown.textContent = shown.dataset.words.replace("{shown}", count).replace("{all}", total);
    form.classList.toggle("filtered", count < total);
  }

  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 120);
  });
  for (const field of [broken, changed, device]) field.addEventListener("change", filter);
  form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  form.addEventListener("reset", () => setTimeout(filter));

  // A link to a claim shows it, also where a filter has hidden it.
  function go() {
    let id = "";
    try { id = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    const target = id && byId(id);
    if (!target) return;
    if (target.closest("[hidden]")) {
      form.reset();
      filter();
    }
    if (target.matches("article.claim")) {
      const test = target.querySelector("details.t");
      if (test) test.open = true;
    }
    target.scrollIntoView();
  }
  addEventListener("hashchange", go);

  filter(); // a browser that goes back fills the fields in again
  go();
})();
