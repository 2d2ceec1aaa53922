// The text as a heatmap: all of it as plain text, and as tokens only near where one looks.
// What a payload holds is described in payload.py, what a code means in codes.py.
"use strict";
(() => {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const say = settings.words;
  const text = document.querySelector(".text");
  const panel = document.querySelector(".panel");
  const spoken = document.getElementById("spoken");
  const limits = document.getElementById("limits");
  const articles = [...document.querySelectorAll("article[data-candidate]")];
  const BLOCK = 256;
  let data = null;
  let blocks = [];
  let active = 0;
  let request = 0;

  // Payload ---------------------------------------------------------------------------------

  async function unpack(base64) {
    const raw = atob(base64.trim());
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function parse(bytes) {
    const length = new DataView(bytes.buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
    const { n, m, width } = head;
    let at = 4 + length;
    const planes = (count, wide) => {
      const values = new Uint32Array(count);
      for (let k = 0; k < wide; k++, at += count) {
        for (let i = 0; i < count; i++) values[i] |= bytes[at + i] << (8 * k);
      }
      return values;
    };
    const after = (difference, base) => difference.map((d, i) => (base[i] + d) & 65535);
    const token = planes(n, width), kl = planes(n, 2), nextP = planes(n, 2);
    const nextQ = after(planes(n, 2), nextP), flags = planes(n, 1);
    const event = planes(m, width), p = planes(m, 2), q = after(planes(m, 2), p);
    const part = planes(m, 2);
    const offset = new Uint32Array(n + 1);
    for (let i = 0; i < n; i++) offset[i + 1] = offset[i] + (flags[i] & 127);
    const levels = Uint8Array.from(kl, level);
    return { ...head, token, kl, nextP, nextQ, flags, event, p, q, part, offset, levels };
  }

  // Codes -----------------------------------------------------------------------------------

  const FINE = 55801, NEGATIVE = 65533, INFINITE = 65534, UNKNOWN = 65535;

  function digits(code) {
    const c = code - 1;
    return [100 + (c % 900), Math.floor(c / 900) - 58];
  }

  function value(code) {
    if (code === 0) return 0;
    if (code === INFINITE) return Infinity;
    if (code >= NEGATIVE) return NaN;
    if (code >= FINE) return (code - FINE + 1001) / 10000;
    const [mantissa, exponent] = digits(code);
    return Number(`${mantissa}e${exponent}`);
  }

  // The decimal mantissa · 10^exponent with exactly these digits.
  function decimal(mantissa, exponent) {
    const point = exponent + 2;
    if (point < -4 || point > 5) {
      return `${(mantissa / 100).toFixed(2)}e${point}`;
    }
    return Number(`${mantissa}e${exponent}`).toFixed(Math.max(0, -exponent));
  }

  function nats(code) {
    if (code === 0) return "0";
    if (code === NEGATIVE) return "below 0";
    if (code === INFINITE) return "∞";
    if (code === UNKNOWN) return "–";
    return decimal(...digits(code));
  }

  function percent(code) {
    if (code === 0) return "0 %";
    if (code >= NEGATIVE) return "–";
    if (code >= FINE) return `${((code - FINE + 1001) / 100).toFixed(2)} %`;
    const [mantissa, exponent] = digits(code);
    return `${decimal(mantissa, exponent + 2)} %`;
  }

  function contribution(code) {
    return code !== 0 && value(code) < 1e-7 ? "< 1e-7" : nats(code);
  }

  function level(code) {
    const x = value(code);
    let found = 0;
    while (found < settings.edges.length && x >= settings.edges[found]) found++;
    return found;
  }

  // Text ------------------------------------------------------------------------------------

  function element(name, className, content) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (content !== undefined) made.textContent = content;
    return made;
  }

  function look(i) {
    const names = data.levels[i] ? [`h${data.levels[i]}`] : [];
    if (data.flags[i] & 128) names.push("swap");
    if (data.kl[i] === INFINITE) names.push("infinite");
    return names.join(" ");
  }

  function plain(block) {
    let all = "";
    for (let i = block.first; i < block.end; i++) all += data.texts[data.token[i]];
    block.body.textContent = all;
    block.isTokens = false;
  }

  // The one token that Tab reaches; a sign of where one is only after one has gone there.
  function mark(span) {
    span.tabIndex = 0;
    if (panel.dataset.token !== undefined) span.setAttribute("aria-current", "true");
  }

  function tokens(block) {
    const all = document.createDocumentFragment();
    for (let i = block.first; i < block.end; i++) {
      const span = element("span", look(i), data.texts[data.token[i]]);
      span.index = i;
      if (i === active) mark(span);
      all.append(span);
    }
    block.body.replaceChildren(all);
    block.isTokens = true;
  }

  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const block = entry.target.block;
        if (!block || blocks[block.number] !== block) continue;
        if (entry.isIntersecting && !block.isTokens) tokens(block);
        else if (!entry.isIntersecting && block.isTokens && block !== blockOf(active)) plain(block);
      }
    },
    { rootMargin: "800px 0px" },
  );

  function build() {
    near.disconnect();
    blocks = [];
    const all = document.createDocumentFragment();
    let last = -1;
    data.stretches.forEach(([first, document_, chunk, position], k) => {
      const end = k + 1 < data.stretches.length ? data.stretches[k + 1][0] : data.n;
      if (document_ !== last) all.append(element("h3", "", data.documents[document_]));
      const stretch = element("div", "stretch");
      // What lies between two stretches was read as context and not scored.
      if (position > 0 && !say.examples) stretch.append(element("span", "gap", "… "));
      for (let a = first; a < end; a += BLOCK) {
        const body = element("span");
        const block = {
          first: a, end: Math.min(a + BLOCK, end), body, number: blocks.length,
          document: document_, chunk, position: position + a - first, stretch: k,
        };
        body.block = block;
        blocks.push(block);
        plain(block);
        stretch.append(body);
      }
      all.append(stretch);
      last = document_;
    });
    text.replaceChildren(all);
    if (blocks.length) tokens(blocks[0]);
    for (const block of blocks) near.observe(block.body);
  }

  function blockOf(i) {
    let low = 0, high = blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (blocks[middle].first <= i) low = middle;
      else high = middle - 1;
    }
    return blocks[low];
  }

  function spanOf(i) {
    const block = blockOf(i);
    if (!block.isTokens) tokens(block);
    return block.body.children[i - block.first];
  }

  // Panel -----------------------------------------------------------------------------------

  // One line, with the blanks at its ends visible.
  function inLine(i) {
    const shown = data.texts[i].replace(/\n/g, "");
    if (say.examples) return shown.trim();
    return shown.replace(/^ +| +$/g, (blanks) => "␣".repeat(blanks.length));
  }

  function events(i) {
    const found = [];
    for (let j = data.offset[i]; j < data.offset[i + 1]; j++) found.push(j);
    return found;
  }

  function tops(i) {
    const all = events(i);
    if (!(data.flags[i] & 128)) return [all[0], all[0]];
    const rest = all.slice(1);
    const known = (j) => (data.q[j] >= NEGATIVE ? -1 : value(data.q[j]));
    return [all[0], rest.reduce((best, j) => (known(j) > known(best) ? j : best), rest[0])];
  }

  function row(j, i, top) {
    const made = element("tr");
    const mark = say.examples ? "label" : "next";
    const name = element("th", data.event[j] === data.token[i] ? mark : "", inLine(data.event[j]));
    name.scope = "row";
    made.append(
      name,
      element("td", j === top[0] ? "p first" : "p", percent(data.p[j])),
      element("td", j === top[1] ? "q first" : "q", percent(data.q[j])),
      element("td", "", contribution(data.part[j])),
    );
    return made;
  }

  function show(i) {
    const block = blockOf(i);
    const top = tops(i);
    const table = element("table");
    const heads = element("tr");
    for (const [name, side] of [[say.event, ""], ["Reference", "p"], ["Candidate", "q"], ["Adds, nats", ""]]) {
      const head = element("th", side, name);
      head.scope = "col";
      heads.append(head);
    }
    const body = element("tbody");
    body.append(...events(i).map((j) => row(j, i, top)));
    table.append(element("thead"), body);
    table.tHead.append(heads);
    const number = block.position + i - block.first;
    const where = say.examples ? `example ${number}` : `chunk ${block.chunk}, position ${number}`;
    const place = `${data.documents[block.document]}, ${where}`;
    panel.replaceChildren(
      element("span", "token", inLine(data.token[i])),
      element("p", "figures", `KL ${nats(data.kl[i])} nats`),
      element("p", "quiet", next(i)),
      table,
      element("p", "quiet", data.flags[i] & 128 ? say.differ : ""),
      element("p", "quiet", place),
    );
    panel.dataset.token = i;
  }

  function next(i) {
    if (data.nextP[i] === UNKNOWN) return say.unknown;
    return `${say.came}: ${percent(data.nextP[i])} in the reference, ${percent(data.nextQ[i])} in the candidate.`;
  }

  function speak(i) {
    const [p, q] = tops(i);
    const swap = data.flags[i] & 128
      ? `${say.tops}: reference ${inLine(data.event[p])}, ${percent(data.p[p])}; candidate ${inLine(data.event[q])}, ${percent(data.q[q])}.`
      : `${say.both} ${inLine(data.event[p])}: ${percent(data.p[p])} and ${percent(data.q[p])}.`;
    spoken.textContent = `${inLine(data.token[i])}: KL ${nats(data.kl[i])} nats. ${swap}`;
  }

  // Moving ----------------------------------------------------------------------------------

  function go(i, scroll = "nearest") {
    const old = spanOf(active);
    old.removeAttribute("tabindex");
    old.removeAttribute("aria-current");
    active = i;
    const span = spanOf(i);
    show(i);
    speak(i);
    mark(span);
    span.focus({ preventScroll: true });
    span.scrollIntoView({ block: scroll });
  }

  // The token above or below, where the eye would look for it.
  function vertical(i, direction) {
    const from = spanOf(i).getClientRects()[0];
    const x = (from.left + from.right) / 2;
    let line = null, best = i, distance = Infinity;
    for (let j = i + direction; j >= 0 && j < data.n; j += direction) {
      const rects = spanOf(j).getClientRects();
      const box = rects[direction > 0 ? 0 : rects.length - 1];
      if (!box || (direction > 0 ? box.top < from.bottom - 2 : box.bottom > from.top + 2)) continue;
      if (line === null) line = box.top;
      if (Math.abs(box.top - line) > 4) break;
      const away = Math.max(box.left - x, x - box.right, 0);
      if (away < distance) [best, distance] = [j, away];
    }
    return best;
  }

  function stretchStart(k) {
    return data.stretches[Math.min(Math.max(k, 0), data.stretches.length - 1)][0];
  }

  function swapped(i, direction) {
    for (let j = i + direction; j >= 0 && j < data.n; j += direction) {
      if (data.flags[j] & 128) return j;
    }
    return i;
  }

  function target(key, i) {
    const k = blockOf(i).stretch;
    const end = k + 1 < data.stretches.length ? data.stretches[k + 1][0] : data.n;
    const forward = getComputedStyle(text).direction === "rtl" ? -1 : 1;
    switch (key) {
      case "ArrowRight": return i + forward;
      case "ArrowLeft": return i - forward;
      case "ArrowDown": return vertical(i, 1);
      case "ArrowUp": return vertical(i, -1);
      case "Home": return stretchStart(k);
      case "End": return end - 1;
      case "PageDown": return stretchStart(k + 1);
      case "PageUp": return stretchStart(k - 1);
      case "n": return swapped(i, 1);
      case "b": return swapped(i, -1);
      default: return null;
    }
  }

  text.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.index === undefined) return;
    const goal = target(event.key, event.target.index);
    if (goal === null) return;
    event.preventDefault();
    if (goal >= 0 && goal < data.n) go(goal);
  });
  text.addEventListener("mouseover", (event) => {
    if (event.target.index !== undefined) show(event.target.index);
  });
  text.addEventListener("click", (event) => {
    if (event.target.index !== undefined) go(event.target.index);
  });
  text.addEventListener("focusin", (event) => {
    const i = event.target.index;
    if (i === undefined || panel.dataset.token === String(i)) return;
    show(i);
    speak(i);
    mark(event.target);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-token]");
    if (!link || !data) return;
    event.preventDefault();
    go(Number(link.dataset.token), "center");
  });

  // Candidates ------------------------------------------------------------------------------

  async function choose(number) {
    articles.forEach((article, i) => { article.hidden = i !== number; });
    limits.textContent = settings.limits[number];
    const mine = ++request;
    const bytes = await unpack(document.getElementById(`positions-${number}`).textContent);
    if (mine !== request) return;
    data = parse(bytes);
    active = 0;
    delete panel.dataset.token;
    panel.replaceChildren(element("p", "quiet", say.point));
    build();
    text.dataset.ready = number;
  }

  for (const input of document.querySelectorAll("input[name=candidate]")) {
    input.addEventListener("change", () => choose(Number(input.value)));
  }
  const chosen = document.querySelector("input[name=candidate]:checked");
  choose(chosen ? Number(chosen.value) : 0);
})();
