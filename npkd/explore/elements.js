"use strict";

// What the page is built of: elements, numbers in words, maps, tables, curves.

// Elements, with their properties and listeners ("onclick"), and what is in them.
function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
const SVG = "http://www.w3.org/2000/svg";
function svg(tag, given = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Puts elements into a place; what has the focus there keeps it, by its number.
function fill(id, ...children) {
  const place = document.getElementById(id);
  const focusable = () => [...place.querySelectorAll("button, select, input, canvas[tabindex]")];
  const at = focusable().indexOf(document.activeElement);
  place.replaceChildren(...children);
  if (at >= 0) focusable()[at]?.focus({ preventScroll: true });
}

// A number to so many digits.
function said(x, digits = 4) {
  if (!Number.isFinite(x)) return String(x).replace("Infinity", "∞").replace("-", "−");
  const small = x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5);
  const text = x === 0 ? "0" : small ? x.toExponential(digits - 2) : x.toPrecision(digits);
  return text.replaceAll("-", "−");
}
const exact = (x) => said(x, 8); // so that what is subtracted can be done again by hand
const bracketed = (x) => (x < 0 ? `(${exact(x)})` : exact(x));
const signed = (x) => (x < 0 ? said(x) : `+${said(x)}`);
const percent = (x) => `${x >= 0.0995 ? (100 * x).toFixed(1) : x ? said(100 * x, 3) : "0"} %`;
const nameOf = (text) => h("bdi", {}, text || "(no name)"); // of a class: whichever way it is written
const below = (n) => String(n).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
const largest = (values) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0) || 1;
const furthest = (values) =>
  values.reduce((best, x, n) => (Math.abs(x) > Math.abs(values[best]) ? n : best), 0); // from 0

// Colours: orange above 0, blue below, nothing at 0.

const dark = matchMedia("(prefers-color-scheme: dark)");
const GROUND = () => (dark.matches ? [20, 20, 20] : [255, 255, 255]);
const ABOVE = [213, 94, 0];
const UNDER = [0, 114, 178];

function colour(share) {
  const [of, by] = [share < 0 ? UNDER : ABOVE, Math.min(1, Math.abs(share))];
  return GROUND().map((value, n) => Math.round(value + by * (of[n] - value)));
}

function paint(canvas, rows, columns, colourOf) {
  Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let n = 0; n < rows * columns; n++) image.data.set([...colourOf(n), 255], 4 * n);
  context.putImageData(image, 0, 0);
  return canvas;
}

// A layer's output as maps: those of its channels, or of a row its numbers in lines.
function mapsOf(x) {
  if (x.shape.length === 3) {
    const [channels, rows, columns] = x.shape;
    return { channels, rows, columns };
  }
  const count = x.shape[0];
  let columns = Math.ceil(Math.sqrt(count));
  for (let n = columns; n < Math.min(count, 2 * columns + 1); n++) {
    if (count % n === 0) {
      columns = n;
      break;
    }
  }
  return { channels: 1, rows: Math.ceil(count / columns), columns };
}

function mapCanvas(x, channel, most, given = {}) {
  const { rows, columns } = mapsOf(x);
  const at = channel * rows * columns;
  const of = (n) => (at + n < x.data.length ? colour(x.data[at + n] / most) : GROUND());
  return paint(h("canvas", { className: "map", ...given }), rows, columns, of);
}

// Where the arrow keys lead, in rows and columns.
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// A canvas of which a cell is chosen, by a click or by the arrow keys.
function cells(x, channel, [i, j], label, choose) {
  const { rows, columns } = mapsOf(x);
  const canvas = mapCanvas(x, channel, largest(x.data), { tabIndex: 0, role: "application" });
  canvas.setAttribute("aria-label", `${label}; the arrow keys choose a cell`);
  canvas.classList.add("chosen");
  const context = canvas.getContext("2d");
  const scale = Math.max(1, Math.round(320 / columns));
  const small = h("canvas", { width: columns, height: rows });
  small.getContext("2d").drawImage(canvas, 0, 0);
  Object.assign(canvas, { width: columns * scale, height: rows * scale });
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  context.lineWidth = Math.max(2, scale / 8);
  context.strokeStyle = dark.matches ? "#fff" : "#000";
  context.strokeRect(j * scale, i * scale, scale, scale);
  const held = (a, most) => Math.max(0, Math.min(most - 1, a));
  const go = (a, b) => choose([held(a, rows), held(b, columns)]);
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const place = (at, length, count) => Math.floor((at / length) * count);
    go(place(event.clientY - box.top, box.height, rows), place(event.clientX - box.left, box.width, columns));
  });
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    go(i + move[0], j + move[1]);
  });
  return canvas;
}

// Tables: of numbers, and of rows with bars.

function tableOf(head, rows, given = {}) {
  const cell = (tag, content) => h(tag, {}, content);
  return h(
    "div",
    { className: "scroll" },
    h(
      "table",
      given,
      h("thead", {}, h("tr", {}, ...head.map((text) => cell("th", text)))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((one) => cell("td", one))))),
    ),
  );
}

// A small matrix of numbers on their colours.
//
// choose: what a cell does that is clicked; chosen: its number; named: how one is called, by number.
function matrix(values, columns, what, { choose, chosen, named } = {}) {
  const most = largest(values);
  const rows = [];
  for (let at = 0; at < values.length; at += columns) {
    rows.push(
      values.slice(at, at + columns).map((value, n) => {
        const [red, green, blue] = colour(value / most);
        const cell = h("td", { className: at + n === chosen ? "chosen" : "" });
        cell.style.backgroundColor = `rgb(${red} ${green} ${blue})`;
        const bright = (2 * red + 5 * green + blue) / 8 > 120;
        cell.style.color = bright ? "#000" : "#fff";
        const given = choose && {
          "aria-label": `${named(at + n)} = ${said(value)}`,
          "aria-pressed": String(at + n === chosen),
          onclick: () => choose(at + n),
        };
        cell.append(choose ? h("button", given, said(value)) : said(value));
        return cell;
      }),
    );
  }
  const body = h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row)));
  return h("table", { className: "matrix" }, h("caption", {}, what), body);
}

function bar(value, most, what) {
  const inner = h("span", { className: value < 0 ? "below" : "above" });
  inner.style.width = `${(50 * Math.abs(value)) / most}%`;
  inner.style.marginLeft = `${value < 0 ? 50 - (50 * Math.abs(value)) / most : 50}%`;
  return h("span", { className: "bar", role: "img", "aria-label": `${what} ${said(value)}` }, inner);
}

function share(value, what) {
  const inner = h("span", { className: "above" });
  inner.style.width = `${100 * value}%`;
  const given = { className: "bar", role: "img", "aria-label": `${what} ${percent(value)}` };
  return h("span", {}, h("span", given, inner), h("span", { className: "percent" }, percent(value)));
}

// Curves on axes whose ticks are given, as an SVG picture.
function curves(lines, { what, x, y, marks = [] }) {
  if (![...x.ticks, ...y.ticks].every(Number.isFinite)) return h("p", {}, "There is nothing to draw.");
  const [width, height, left, bottom] = [540, 260, 64, 36];
  const [right, top] = [32, 12];
  const place = ({ ticks, scale }, length) => {
    const [low, high] = [scale(ticks[0]), scale(ticks.at(-1))];
    return (value) => ((scale(value) - low) / (high - low || 1)) * length;
  };
  const [acrossOf, upOf] = [place(x, width - left - right), place(y, height - bottom - top)];
  const [across, up] = [(v) => left + acrossOf(v), (v) => height - bottom - upOf(v)];
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": what });
  for (const tick of x.ticks) {
    drawn.append(
      svg("line", {
        x1: across(tick),
        x2: across(tick),
        y1: top,
        y2: height - bottom,
        class: "grid",
      }),
    );
    drawn.append(
      svg("text", { x: across(tick), y: height - bottom + 16, "text-anchor": "middle" }, x.said(tick)),
    );
  }
  for (const tick of y.ticks) {
    drawn.append(svg("line", { x1: left, x2: width - right, y1: up(tick), y2: up(tick), class: "grid" }));
    drawn.append(svg("text", { x: left - 6, y: up(tick) + 4, "text-anchor": "end" }, y.said(tick)));
  }
  for (const [at, text] of marks) {
    drawn.append(
      svg("line", { x1: across(at), x2: across(at), y1: top, y2: height - bottom, class: "mark" }),
    );
    const late = across(at) > width / 2;
    const anchor = { "text-anchor": late ? "end" : "start" };
    drawn.append(svg("text", { x: across(at) + (late ? -4 : 4), y: 24, ...anchor }, text));
  }
  const [w, h0] = [width - left - right, height - bottom - top];
  const inside = { x: left, y: top, width: w, height: h0, viewBox: `${left} ${top} ${w} ${h0}` };
  const area = svg("svg", inside); // which cuts off what is beyond the axes
  lines.forEach(({ points }, n) => {
    const kept = points.filter(([a, b]) => Number.isFinite(x.scale(a)) && Number.isFinite(y.scale(b)));
    const path = kept.map(([a, b], at) => `${at ? "L" : "M"}${across(a)} ${up(b)}`).join("");
    area.append(svg("path", { d: path, class: `line line${n}` }));
  });
  drawn.append(area);
  const keys = lines.map(({ name }, n) =>
    h(
      "li",
      {},
      svg(
        "svg",
        { viewBox: "0 0 30 8", class: "key", "aria-hidden": "true" },
        svg("path", { d: "M0 4L30 4", class: `line line${n}` }),
      ),
      ` ${name}`,
    ),
  );
  return h(
    "figure",
    {},
    drawn,
    h("figcaption", {}, `across: ${x.name}; up: ${y.name}`),
    h("ul", { className: "keys" }, ...keys),
  );
}
