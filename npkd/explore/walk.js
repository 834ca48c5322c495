"use strict";

// 4. Backward, cell by cell

function drawWalk() {
  const layer = layerNow();
  const { outputs } = now.nets[state.net];
  const [y, dy] = [outputs[layer.name], now.back.dys[layer.name]];
  const { rows, columns } = mapsOf(y);
  const at = (state.channel * rows + state.cell[0]) * columns + state.cell[1];
  const place = y.shape.length === 3 ? [state.channel, ...state.cell] : [at];
  const name = `${layer.name}[${place.join(", ")}]`;
  const walk = WALKS[layer.op](layer, at, outputs, y, dy);
  fill("here", `y = ${name} = ${said(y.data[at])},  dy = ∂L/∂y = ${said(dy.data[at])}`);
  fill("cell", line(walk.formula), ...walk.pieces);
}

const param = (layer, key) => run.nets[state.net].params[`${layer.name}.${key}`];
const grad = (layer, key) => now.back.grads[`${layer.name}.${key}`];
const line = (...texts) => h("p", { className: "formula" }, ...texts);
const side = (...pieces) => h("div", { className: "side" }, ...pieces);

// A long sum by its largest terms, [what, value] each, behind those that are always shown.
function longSum(terms, result, always = []) {
  const order = terms.slice().sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const shown = order.slice(0, LARGEST_TERMS);
  const left = order.slice(LARGEST_TERMS);
  const rows = [...always, ...shown].map(([what, value]) => [what, signed(value)]);
  if (left.length) rows.push([`${left.length} more`, signed(sum(left.map(([, value]) => value)))]);
  return tableOf(["of the sum", "term"], [...rows, [h("b", {}, "in all"), h("b", {}, said(result))]]);
}

const WALKS = {
  conv2d(layer, at, outputs, y, dy) {
    const [w, b] = [param(layer, "weight"), param(layer, "bias")];
    const x = outputs[layer.takes[0]];
    const dx = now.back.dys[layer.takes[0]];
    const { stride, padding, groups } = layer.options;
    const [channels, inputs, kh, kw] = w.shape;
    const [, height, width] = x.shape;
    const [, rows, columns] = y.shape;
    const [o, i, j] = [Math.floor(at / (rows * columns)), ...state.cell];
    const group = Math.floor((o * groups) / channels) * inputs;
    const k = Math.min(state.input, inputs - 1);
    const tap = [Math.min(state.tap[0], kh - 1), Math.min(state.tap[1], kw - 1)];
    const inside = (r, c) => r >= 0 && r < height && c >= 0 && c < width;
    const xAt = (channel, r, c) => (inside(r, c) ? x.data[((group + channel) * height + r) * width + c] : 0);
    const wAt = (channel, u, v, out = o) => w.data[((out * inputs + channel) * kh + u) * kw + v];
    const taps = Array.from({ length: kh * kw }, (_, n) => [Math.floor(n / kw), n % kw]);
    const seen = (channel) =>
      taps.map(([u, v]) => xAt(channel, i * stride[0] + u - padding[0], j * stride[1] + v - padding[1]));
    const kernel = (channel) => taps.map(([u, v]) => wAt(channel, u, v));
    const products = (channel) => seen(channel).map((value, n) => value * kernel(channel)[n]);
    const partial = Array.from({ length: inputs }, (_, channel) => sum(products(channel)));
    const bias = b ? b.data[o] : 0;
    const picked = h(
      "select",
      {
        id: "of-input",
        onchange: (event) => choose({ input: Number(event.target.value) }),
      },
      ...partial.map((_, n) => h("option", { value: n, selected: n === k }, `${group + n}`)),
    );

    // The weight's gradient at a tap: every place of y where it has met x
    const meets = (f) =>
      Array.from({ length: rows * columns }, (_, n) => f(Math.floor(n / columns), n % columns));
    const shifted = meets((r, c) =>
      xAt(k, r * stride[0] + tap[0] - padding[0], c * stride[1] + tap[1] - padding[1]),
    );
    const upstream = meets((r, c) => dy.data[(o * rows + r) * columns + c]);
    const both = shifted.map((value, n) => value * upstream[n]);
    const shown = (values, text) =>
      h(
        "figure",
        {},
        mapCanvas(array([1, rows, columns], Float64Array.from(values)), 0, largest(values), {
          role: "img",
          "aria-label": text,
        }),
        h("figcaption", {}, text),
      );
    const dw = grad(layer, "weight").data[((o * inputs + k) * kh + tap[0]) * kw + tap[1]];

    // The input's gradient in the middle of the window: every product that it has been in
    const middle = [
      i * stride[0] + Math.floor(kh / 2) - padding[0],
      j * stride[1] + Math.floor(kw / 2) - padding[1],
    ];
    const terms = [];
    for (let out = 0; out < channels; out++) {
      if (Math.floor((out * groups) / channels) * inputs !== group) continue;
      for (const [u, v] of taps) {
        const [r, c] = [(middle[0] + padding[0] - u) / stride[0], (middle[1] + padding[1] - v) / stride[1]];
        if (!Number.isInteger(r) || !Number.isInteger(c) || r < 0 || r >= rows || c < 0 || c >= columns)
          continue;
        const [d, weight] = [dy.data[(out * rows + r) * columns + c], wAt(k, u, v, out)];
        terms.push([
          `dy[${out}, ${r}, ${c}] · w[${out}, ${k}, ${u}, ${v}] = ${said(d)} · ${said(weight)}`,
          d * weight,
        ]);
      }
    }
    const where = (n) =>
      `${stride[n] > 1 ? stride[n] : ""}${"ij"[n]}+${"uv"[n]}${padding[n] ? `−${padding[n]}` : ""}`;
    const ways = run.nets[state.net].layers.filter(({ takes }) => takes.includes(layer.takes[0])).length;
    const ofMiddle =
      dx && inside(...middle) && dx.data[((group + k) * height + middle[0]) * width + middle[1]];
    return {
      formula: `y[o,i,j] = b[o] + Σ_k Σ_u Σ_v x[k, ${where(0)}, ${where(1)}] · w[o,k,u,v]`,
      pieces: [
        h(
          "p",
          {},
          h("label", {}, "input channel k ", picked),
          `, the window of ${layer.takes[0]} on the kernel; choose a weight:`,
        ),
        side(
          matrix(seen(k), kw, "x"),
          h("span", {}, "×"),
          matrix(kernel(k), kw, "w", {
            choose: (n) => choose({ tap: taps[n] }),
            chosen: tap[0] * kw + tap[1],
            named: (n) => `w[${o}, ${k}, ${taps[n].join(", ")}]`,
          }),
          h("span", {}, "="),
          matrix(products(k), kw, "x · w"),
          h("span", {}, `sum ${said(partial[k])}`),
        ),
        line(
          `y = ${said(bias)} (bias) ${
            inputs > LARGEST_TERMS
              ? `+ the sums of ${inputs} channels, ${said(sum(partial))}`
              : partial.map((value) => `${value < 0 ? "−" : "+"} ${said(Math.abs(value))}`).join(" ")
          } = `,
          h("b", {}, said(bias + sum(partial))),
        ),
        h("h4", {}, `dW: w[${o}, ${k}, ${tap.join(", ")}] is in every number of channel ${o} of y`),
        line(
          `∂L/∂w[o,k,u,v] = Σ_i Σ_j dy[o,i,j] · x[k, ${where(0)}, ${where(1)}]: each y[o,i,j] contains w times this x`,
        ),
        side(
          shown(upstream, `dy, channel ${o}`),
          h("span", {}, "×"),
          shown(shifted, `x, channel ${group + k}, shifted to where w meets it`),
          h("span", {}, "="),
          shown(both, "the products"),
        ),
        line(
          `the sum over ${rows * columns} places = ${said(sum(both))};  dW here: `,
          h("b", {}, said(dw)),
          b ? `;  db[${o}] = Σ dy = ${said(grad(layer, "bias").data[o])}` : "",
        ),
        ...(inside(...middle)
          ? [
              h(
                "h4",
                {},
                `dx: x[${group + k}, ${middle.join(", ")}], the middle of the window, is in several numbers of y`,
              ),
              line("∂L/∂x = Σ dy · w, over every product that this x is in"),
              longSum(terms, sum(terms.map(([, value]) => value))),
              ...(dx
                ? [line(`dx there${ways > 1 ? ", with what comes by other ways" : ""}: ${said(ofMiddle)}`)]
                : []),
            ]
          : []),
      ],
    };
  },

  linear(layer, at, outputs, y, dy) {
    const [w, b] = [param(layer, "weight"), param(layer, "bias")];
    const x = outputs[layer.takes[0]];
    const inputs = x.data.length;
    const k = Math.min(state.input, inputs - 1);
    const terms = Array.from(x.data, (value, i) => [
      `w[${at}, ${i}] · x[${i}] = ${said(w.data[at * inputs + i])} · ${said(value)}`,
      w.data[at * inputs + i] * value,
    ]);
    const bias = b ? b.data[at] : 0;
    const back = Array.from(dy.data, (d, o) => [
      `dy[${o}] · w[${o}, ${k}] = ${said(d)} · ${said(w.data[o * inputs + k])}`,
      d * w.data[o * inputs + k],
    ]);
    return {
      formula: "y[o] = b[o] + Σ_i w[o,i] x[i]",
      pieces: [
        longSum(terms, y.data[at], b ? [[`b[${at}]`, bias]] : []),
        h(
          "p",
          {},
          h(
            "label",
            {},
            "input i ",
            h("input", {
              ...{ id: "of-input", type: "number", min: 0, max: inputs - 1, value: k },
              onchange: (event) =>
                choose({
                  input: Math.max(0, Math.min(inputs - 1, Number(event.target.value) || 0)),
                }),
            }),
          ),
        ),
        h("h4", {}, `dW: w[${at}, ${k}] is in y[${at}] alone, times x[${k}]`),
        line(
          `∂L/∂w[o,i] = dy[o] · x[i] = ${said(dy.data[at])} · ${said(x.data[k])} = `,
          h("b", {}, said(grad(layer, "weight").data[at * inputs + k])),
          `;  db[${at}] = dy = ${said(dy.data[at])}`,
        ),
        h("h4", {}, `dx: x[${k}] is in every y`),
        line("∂L/∂x[i] = Σ_o dy[o] w[o,i]"),
        longSum(back, now.back.dys[layer.takes[0]].data[k]),
      ],
    };
  },

  relu(layer, at, outputs, y, dy) {
    const x = outputs[layer.takes[0]].data[at];
    const open = layer.op === "relu6" ? x > 0 && x < 6 : x > 0;
    return {
      formula:
        layer.op === "relu6"
          ? "y = min(max(x, 0), 6);  dx = dy where 0 < x < 6, else 0"
          : "y = max(x, 0);  dx = dy where x > 0, else 0",
      pieces: [
        line(
          `x = ${said(x)}, so y = ${said(y.data[at])} and dx = ${open ? `dy = ${said(dy.data[at])}` : "0: nothing goes back"}`,
        ),
      ],
    };
  },

  avg_pool2d(layer, at, outputs, y, dy) {
    const x = outputs[layer.takes[0]];
    const { kernel, stride } = layer.options;
    const values = windowOf(x, kernel, stride, state.channel, ...state.cell).map((place) => x.data[place]);
    const cells = values.length;
    return {
      formula: `y = the mean of ${kernel.join("×")} cells;  each gets dy / ${cells}`,
      pieces: [
        side(
          matrix(values, kernel[1], "x"),
          h("span", {}, `mean ${said(sum(values) / cells)}`),
          matrix(
            values.map(() => dy.data[at] / cells),
            kernel[1],
            "dx",
          ),
        ),
      ],
    };
  },

  max_pool2d(layer, at, outputs, y, dy) {
    const x = outputs[layer.takes[0]];
    const { kernel, stride } = layer.options;
    const values = windowOf(x, kernel, stride, state.channel, ...state.cell).map((place) => x.data[place]);
    const best = values.indexOf(Math.max(...values));
    return {
      formula: "y = the largest of the window, the first of equals;  it alone gets dy",
      pieces: [
        side(
          matrix(values, kernel[1], "x"),
          h("span", {}, `largest ${said(values[best])}`),
          matrix(
            values.map((_, n) => (n === best ? dy.data[at] : 0)),
            kernel[1],
            "dx",
          ),
        ),
      ],
    };
  },

  global_avg_pool2d(layer, at, outputs, y, dy) {
    const [, h0, w0] = outputs[layer.takes[0]].shape;
    return {
      formula: `y[c] = Σ x[c,i,j] / ${h0 * w0};  every cell gets dy / ${h0 * w0}`,
      pieces: [line(`dx = ${said(dy.data[at])} / ${h0 * w0} = ${said(dy.data[at] / (h0 * w0))}`)],
    };
  },

  batch_norm(layer, at, outputs, y, dy) {
    const x = outputs[layer.takes[0]];
    const c = state.channel;
    const [w, b, mean, variance] = TAKES.batch_norm.map((key) => param(layer, key).data[c]);
    const s = 1 / Math.sqrt(variance + layer.options.epsilon);
    return {
      formula: "y = w (x − mean) / √(var + ε) + b, with what was remembered in training",
      pieces: [
        line(
          `y = ${said(w)} · (${said(x.data[at])} − (${said(mean)})) · ${said(s)} + (${said(b)}) = `,
          h("b", {}, said(y.data[at])),
        ),
        line(
          `dx = dy · w / √(var + ε) = ${said(dy.data[at])} · ${said(w)} · ${said(s)} = ${said(dy.data[at] * w * s)}`,
        ),
        line(
          `over the channel: dw = Σ dy (x − mean)/√… = ${said(grad(layer, "weight").data[c])},  db = Σ dy = ${said(grad(layer, "bias").data[c])}`,
        ),
      ],
    };
  },

  add(layer, at, outputs, y, dy) {
    const [a, b] = layer.takes.map((name) => outputs[name].data[at]);
    return {
      formula: `y = ${layer.takes.join(" + ")};  both get dy`,
      pieces: [line(`y = ${said(a)} + ${said(b)} = ${said(y.data[at])};  dx = ${said(dy.data[at])} to each`)],
    };
  },

  flatten(layer, at, outputs) {
    const [, rows, columns] = outputs[layer.takes[0]].shape;
    const cell = [Math.floor(at / (rows * columns)), Math.floor(at / columns) % rows, at % columns];
    return {
      formula: "the same numbers in a row",
      pieces: [line(`it is ${layer.takes[0]}[${cell.join(", ")}]; dy goes back to there`)],
    };
  },
};
WALKS.relu6 = WALKS.relu;
