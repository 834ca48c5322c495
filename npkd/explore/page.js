"use strict";

// The page: what a person chooses (`state`), what follows from it (`now`), and its sections, each drawn
// anew where something that it shows has changed.

const run = JSON.parse(document.getElementById("run").textContent);
const CLASSES = run.classes;
const NETS = Object.keys(run.nets); // small, the distilled one, and small_from_labels
const MOST_ROUNDING = 1e-12; // of a difference to npkd's numbers, relative
const STEPS = 41; // points of a curve
const LARGEST_TERMS = 8; // of a long sum, that are shown

for (const net of Object.values(run.nets)) net.params = paramsOf(net);
for (const sample of run.samples) sample.pixels = bytesOf(sample.image);

const state = {
  ...{ sample: 0, drawn: null, net: "small", layer: null, channel: 0, cell: null, input: 0 },
  ...{ tap: [1, 1], loss: "l2", T: 4, w: 0, chosen: 0, rate: 1e-3, printed: false },
};
let now = {};

// What a choice leads to

function pixelsNow() {
  return state.drawn || run.samples[state.sample].pixels;
}

// x = (pixel / 255 − mean) / std, and in half the resolution.
function views(pixels) {
  const [c, n] = run.image_shape;
  const x = array(
    [c, n, n],
    Float64Array.from(pixels, (value, at) => {
      const channel = Math.floor(at / (n * n));
      return (value / 255 - run.mean[channel]) / run.std[channel];
    }),
  );
  return { x_high: x, x_low: avg_pool2d(x, { kernel: [2, 2], stride: [2, 2] })[0] };
}
const takenBySmall = ({ x_high, x_low }) => (run.small_input === "high" ? x_high : x_low);
const logitsOf = (net, outputs) => Array.from(outputs[run.nets[net].layers.at(-1).name].data);

function see() {
  const sample = run.samples[state.sample];
  now.views = views(pixelsNow());
  now.nets = {};
  for (const net of NETS) {
    const known = { x: takenBySmall(now.views) };
    const [outputs, backward] = features(run.nets[net], run.nets[net].params, known);
    now.nets[net] = { outputs, backward, z: logitsOf(net, outputs) };
  }
  now.t = state.drawn ? null : sample.teacher;
  now.l = state.drawn ? state.label : sample.label;
  feel();
}

function feel() {
  const { z } = now.nets[state.net];
  now.w = now.t ? state.w : 1; // nothing teaches an image that the large net has not seen
  now.given = { z, t: now.t, l: now.l, T: state.T };
  now.loss = objective(state.loss, now.w, now.given);
  now.back = now.nets[state.net].backward(array([z.length], Float64Array.from(now.loss.gradient)));
}

function picture(x, what, className = "") {
  const [c, rows, columns] = x.shape;
  const cells = rows * columns;
  const pixel = (channel, n) => {
    const value = x.data[channel * cells + n] * run.std[channel] + run.mean[channel];
    return Math.round(255 * value);
  };
  const of = (n) => (c < 3 ? [0, 0, 0] : [0, 1, 2]).map((channel) => pixel(channel, n));
  const canvas = h("canvas", { role: "img", "aria-label": what, className });
  return paint(canvas, rows, columns, of);
}

// 1. The image

const CALLED = { large: "large", small: "distilled", small_from_labels: "from labels" };

function drawImages() {
  const buttons = run.samples.map((sample, n) => {
    const given = {
      className: "sample",
      "aria-pressed": String(!state.drawn && n === state.sample),
      onclick: () => {
        Object.assign(state, { sample: n, drawn: null });
        now.wipe?.();
        see();
        drawAll();
      },
    };
    const what = `test image ${sample.number}, ${CLASSES[sample.label]}`;
    return h("button", given, picture(views(sample.pixels).x_high, what), nameOf(CLASSES[sample.label]));
  });
  fill("samples", ...buttons);
}

function drawPredictions() {
  const { x_high, x_low } = now.views;
  const figure = (x, text) => h("figure", {}, picture(x, text, "view"), h("figcaption", {}, text));
  const shape = (x) => x.shape.join("×");
  fill(
    "views",
    figure(x_high, `x_high, ${shape(x_high)}`),
    figure(x_low, `x_low, ${shape(x_low)}: the mean of each 2×2`),
  );
  const columns = [["large", now.t], ...NETS.map((net) => [net, now.nets[net].z])];
  const shares = columns.map(([net, z]) => [CALLED[net], z && softmax(z, 1)]);
  const rows = CLASSES.map((name, c) => [
    c === now.l ? h("b", {}, nameOf(name), " ✓") : nameOf(name),
    ...shares.map(([net, p]) => (p ? share(p[c], `${name}, ${net}:`) : "–")),
  ]);
  const where = run.teacher_input === "high" ? "x_high" : "x_low brought back to its size";
  fill(
    "predictions",
    tableOf(["class", ...shares.map(([net]) => net)], rows),
    h(
      "p",
      {},
      state.drawn
        ? "The large net itself is not in this page, so it says nothing of what you draw."
        : `The large net is shown ${where}, as it was when it taught.`,
    ),
  );
}

// A drawing: ink on the cells inside of the border.
function drawPad() {
  if (!run.grey) return;
  const [c, n] = run.image_shape;
  const inner = n - 2 * run.border;
  const scale = Math.max(4, Math.floor(280 / inner));
  const ink = new Float64Array(inner * inner);
  const pen = [Math.floor(inner / 2), Math.floor(inner / 2)];
  const canvas = h("canvas", {
    ...{ width: inner * scale, height: inner * scale, tabIndex: 0, className: "pad" },
    ...{ role: "application", id: "pad" },
    "aria-label": "draw here; the arrow keys move a pen, with the space bar held down it draws",
  });
  const show = () => {
    const context = canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    ink.forEach((value, at) => {
      const grey = Math.round(255 * value);
      context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
      if (grey) context.fillRect((at % inner) * scale, Math.floor(at / inner) * scale, scale, scale);
    });
    context.strokeStyle = "#d55e00";
    if (document.activeElement === canvas) {
      context.strokeRect(pen[1] * scale, pen[0] * scale, scale, scale);
    }
  };
  const draw = (row, column) => {
    for (let i = 0; i < inner; i++) {
      for (let j = 0; j < inner; j++) {
        const far = Math.hypot(i + 0.5 - row, j + 0.5 - column);
        ink[i * inner + j] = Math.max(ink[i * inner + j], Math.min(1, Math.max(0, 1.8 - far)));
      }
    }
    const pixels = new Uint8Array(c * n * n);
    ink.forEach((value, at) => {
      const place = (Math.floor(at / inner) + run.border) * n + (at % inner) + run.border;
      for (let k = 0; k < c; k++) pixels[k * n * n + place] = Math.round(255 * value);
    });
    state.drawn = pixels;
    state.label ??= 0;
    show();
    see();
    drawAll();
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientY - box.top, event.clientX - box.left].map((x) => (x / box.width) * inner);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    draw(...at(event));
  });
  canvas.addEventListener("pointermove", (event) => event.buttons && draw(...at(event)));
  let down = false;
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") down = true;
    else if (MOVES[event.key]) {
      MOVES[event.key].forEach((d, k) => (pen[k] = Math.max(0, Math.min(inner - 1, pen[k] + d))));
    } else return;
    event.preventDefault();
    if (down) draw(pen[0] + 0.5, pen[1] + 0.5);
    show();
  });
  canvas.addEventListener("keyup", (event) => (down = event.key === " " ? false : down));
  for (const name of ["focus", "blur"]) canvas.addEventListener(name, show);
  now.wipe = () => {
    ink.fill(0);
    show();
  };
  const clear = () => {
    state.drawn = null;
    now.wipe();
    see();
    drawAll();
  };
  const label = h(
    "select",
    {
      id: "label",
      onchange: (event) => {
        state.label = Number(event.target.value);
        if (state.drawn) see();
        drawAll();
      },
    },
    ...CLASSES.map((name, n) => h("option", { value: n }, name)),
  );
  fill(
    "drawing",
    h(
      "details",
      {},
      h("summary", {}, "Or draw one"),
      h("p", {}, h("label", {}, "It is of the class ", label), " ", h("button", { onclick: clear }, "clear")),
      canvas,
    ),
  );
  show();
}

// 2. The layers

function layerNow() {
  const layers = run.nets[state.net].layers;
  return layers.find((layer) => layer.name === state.layer) || layers[0];
}

const atLayer = (name) => ({ layer: name, channel: 0, cell: null, input: 0 });

function choose(changes) {
  Object.assign(state, changes);
  drawLayers();
  drawWalk();
}

function drawLayers() {
  const layer = layerNow();
  const { outputs } = now.nets[state.net];
  const y = outputs[layer.name];
  const { channels, rows, columns } = mapsOf(y);
  state.channel = Math.min(state.channel, channels - 1);
  const [first, count] = [state.channel * rows * columns, Math.min(rows * columns, y.data.length)];
  const [i, j] = state.cell || [rows, columns];
  if (i >= rows || j >= columns || i * columns + j >= count) {
    const dy = now.back.dys[layer.name].data.subarray(first, first + count); // where most goes back
    const at = furthest(dy);
    state.cell = [Math.floor(at / columns), at % columns];
  }
  const most = largest(y.data);
  const names = run.nets[state.net].layers.map(({ name, op }) =>
    h("option", { value: name, selected: name === layer.name }, `${name}: ${op}`),
  );
  const maps =
    channels === 1
      ? []
      : Array.from({ length: channels }, (_, n) => {
          const given = {
            "aria-label": `channel ${n}`,
            "aria-pressed": String(n === state.channel),
            onclick: () => choose({ channel: n }),
          };
          return h("button", given, mapCanvas(y, n, most));
        });
  const strip = run.nets[state.net].layers.map(({ name }) => {
    const all = outputs[name];
    const cells = mapsOf(all).rows * mapsOf(all).columns;
    const given = {
      "aria-pressed": String(name === layer.name),
      onclick: () => choose(atLayer(name)),
    };
    const one = all.shape.length === 3 ? Math.floor(furthest(all.data) / cells) : 0;
    return h("button", given, mapCanvas(all, one, largest(all.data)), name);
  });
  const where = channels === 1 ? layer.name : `${layer.name}, channel ${state.channel}`;
  fill(
    "layer",
    h("div", { className: "strip" }, ...strip),
    h(
      "p",
      {},
      h(
        "label",
        {},
        "layer ",
        h(
          "select",
          {
            id: "of-layer",
            onchange: (event) => choose(atLayer(event.target.value)),
          },
          ...names,
        ),
      ),
    ),
    h(
      "p",
      { className: "numbers" },
      `${shapeOf(y)} numbers, from ${said(Math.min(...y.data))} to ${said(Math.max(...y.data))}`,
    ),
    h("div", { className: "maps" }, ...maps),
    cells(y, state.channel, state.cell, where, (cell) => choose({ cell })),
  );
}
const shapeOf = (x) => x.shape.join("×");

// 3. The loss

function setLoss(changes) {
  Object.assign(state, changes);
  feel();
  drawLoss();
  drawWalk();
  drawStep();
  drawCheck();
}

function drawDials() {
  const names = Object.entries(LOSSES).map(([name, { title }]) =>
    h("option", { value: name, selected: name === state.loss }, title),
  );
  const dial = (id, text, given, shown, set) =>
    h(
      "p",
      {},
      h("label", { htmlFor: id }, text),
      h("input", {
        id,
        type: "range",
        ...given,
        oninput: (event) => set(Number(event.target.value)),
      }),
      h("output", { id: `${id}-now` }, shown),
    );
  const nets = NETS.map((net) =>
    h(
      "label",
      {},
      h("input", {
        ...{ type: "radio", name: "net", value: net, checked: net === state.net },
        onchange: () => {
          Object.assign(state, { net });
          feel();
          drawAll();
        },
      }),
      ` ${run.nets[net].title} `,
    ),
  );
  fill("nets", h("fieldset", {}, h("legend", {}, "the net"), ...nets));
  fill(
    "dials",
    h(
      "p",
      {},
      h("label", { htmlFor: "of-loss" }, "loss "),
      h(
        "select",
        {
          id: "of-loss",
          onchange: (event) => setLoss({ loss: event.target.value }),
        },
        ...names,
      ),
    ),
    dial(
      "T",
      "temperature T ",
      { min: -1, max: 7, step: 0.05, value: Math.log2(state.T) },
      said(state.T),
      (x) => setLoss({ T: 2 ** x }),
    ),
    dial("w", "weight of the label w ", { min: 0, max: 1, step: 0.01, value: state.w }, said(state.w), (x) =>
      setLoss({ w: x }),
    ),
  );
}

function drawLoss() {
  const { z, t, l } = now.given;
  const loss = LOSSES[state.loss];
  const T = loss.softened ? state.T : 1;
  document.getElementById("of-loss").value = state.loss;
  document.getElementById("T").value = Math.log2(state.T);
  document.getElementById("of-loss").disabled = !t;
  document.getElementById("T").disabled = !loss.softened || !t;
  document.getElementById("T").setAttribute("aria-valuetext", said(state.T));
  document.getElementById("T-now").value = loss.softened ? said(state.T) : "not used by this loss";
  document.getElementById("w").value = now.w;
  document.getElementById("w").disabled = !t;
  document.getElementById("w-now").value = said(now.w);
  const [q, p] = [softmax(z, T), t && softmax(t, T)];
  const { gradient } = now.loss;
  const most = largest(gradient);
  const rows = CLASSES.map((name, c) => [
    h(
      "button",
      {
        "aria-pressed": String(c === state.chosen),
        onclick: () => setLoss({ chosen: c }),
      },
      nameOf(name),
      c === l ? " ✓" : "",
    ),
    t ? said(t[c]) : "–",
    said(z[c]),
    p ? percent(p[c]) : "–",
    percent(q[c]),
    said(gradient[c]),
    bar(gradient[c], most, `gradient by the output for ${name}:`),
  ]);
  const by = loss.softened ? " / T" : "";
  const shares = [`p = softmax(t${by})`, `q = softmax(z${by})`];
  const head = ["class c", "t, large", "z, this net", ...shares, "∂L/∂z", ""];
  fill("gradient", ...formulas(), tableOf(head, rows));
}

// The loss and its gradient for the chosen class, in letters and in numbers.
function formulas() {
  const { hard, soft, value, gradient } = now.loss;
  const [loss, c, w] = [LOSSES[state.loss], state.chosen, now.w];
  if (!now.t) {
    return [
      h(
        "p",
        {},
        "The large net has not seen a drawing, so nothing teaches it: L is the cross-entropy with the label alone.",
      ),
      line(h("b", {}, "L = −log softmax(z)[l]"), " = ", h("b", { id: "value" }, said(value))),
      line(
        `∂L/∂z${below(c)} = softmax(z)${below(c)} − [${c} = l] = ${ofLabel(c)} = `,
        h("b", {}, said(gradient[c])),
      ),
    ];
  }
  const lines = [line(h("b", {}, "L = w · CE + (1 − w) · D")), line(`D: ${loss.formula}`)];
  lines.push(line("CE: −log softmax(z)[l], l the label"));
  const parts = (a, b) => `${said(w)} · ${said(a)} + ${said(1 - w)} · ${said(b)}`;
  lines.push(line(`L = ${parts(hard.value, soft.value)} = `, h("b", { id: "value" }, said(value))));
  const name = `∂L/∂z${below(c)}`;
  lines.push(
    line(
      `${name} = w · (softmax(z)${below(c)} − [${c} = l]) + (1 − w) · ∂D/∂z${below(c)},  ` +
        `∂D/∂z: ${loss.derivative}`,
    ),
  );
  lines.push(
    line(`${name} = ${parts(hard.gradient[c], soft.gradient[c])} = `, h("b", {}, said(gradient[c]))),
  );
  lines.push(line(`∂CE/∂z${below(c)} = ${ofLabel(c)} = ${said(hard.gradient[c])}`));
  lines.push(line(`∂D/∂z${below(c)} = ${inNumbers(c)} = ${said(soft.gradient[c])}`));
  lines.push(line("Σ over the classes of ∂L/∂z = ", said(sum(gradient))));
  return lines;
}

// The gradients for class c with the numbers put in: by the label, and by the teacher.
function ofLabel(c) {
  return `${exact(softmax(now.given.z, 1)[c])} − ${c === now.given.l ? 1 : 0}`;
}

function inNumbers(c) {
  const { z, t, l, T } = now.given;
  const d = differences(now.given);
  const [q, p] = [softmax(z, T), softmax(t, T)];
  const softened = () => `${said(T)} · (${exact(q[c])} − ${exact(p[c])})`;
  const of = {
    l2: () => `${exact(z[c])} − ${bracketed(t[c])}`,
    l1: () => `sign(${exact(d[c])})`,
    huber: () => `${exact(d[c])} held between −1 and 1`,
    limit: () => `(${exact(d[c])} − ${bracketed(sum(d) / d.length)}) / ${d.length}`,
    kl: softened,
    soft_cross_entropy: softened,
    js() {
      const s = q.map((x, k) => Math.log(x) - Math.log((x + p[k]) / 2));
      return `½ · ${said(T)} · ${exact(q[c])} · (${exact(s[c])} − ${bracketed(sum(q.map((x, k) => x * s[k])))})`;
    },
    dkd() {
      if (c === l) return `${said(T)} · ${ALPHA} · (${exact(q[l])} − ${exact(p[l])})`;
      const [r, rOfT] = [q[c] / (1 - q[l]), p[c] / (1 - p[l])];
      const first = `${ALPHA} · (${exact(p[l])} − ${exact(q[l])}) · ${exact(r)}`;
      return `${said(T)} · (${first} + ${BETA} · (${exact(r)} − ${exact(rOfT)}))`;
    },
    cross_entropy: () => ofLabel(c),
  };
  return of[state.loss]();
}

// What a learner asks, and the clicks that show it

// A question, the section that answers it, what is chosen for it, and the answer.
const AS_AT_FIRST = { w: 0, T: 4, printed: false, drawn: null };
const QUESTIONS = [
  [
    "What does T do to the gradient?",
    "loss",
    { loss: "kl", T: 1, image: "undecided" },
    "KL, T = 1. Move T up: p and q flatten, and T² keeps the gradient, T (q − p), from dying as 1/T². Well above the spread of the logits it nears that of “the limit of KL as T grows”, (Δ − mean Δ) / C: some 10 to 50 per cent are missing at T = 20, a few at 128. Choose that loss to compare.",
  ],
  [
    "Why is the small gradient's sign the other way round?",
    "step",
    { loss: "l2", printed: true },
    "L2, with the sign turned round: the loss rises. Take the tick away, and it falls. By y_small the derivative of ½ (y_small − y_large)² is y_small − y_large, by y_large it is y_large − y_small.",
  ],
  [
    "What does a convolution's weight gradient sum over?",
    "walk",
    { loss: "l2", layer: "conv" },
    "Over every place of the output: dy there, times the input that the weight met there. Choose another weight of the kernel, or another input channel.",
  ],
  [
    "Why is the complex step exact?",
    "check",
    { loss: "kl", image: "undecided" },
    "A difference subtracts two values of L that are nearly equal, and the smaller h is, the more digits that costs. The complex step reads the derivative off the imaginary part, where nothing of L is subtracted.",
  ],
  [
    "What does the large net know that the label does not?",
    "loss",
    { loss: "kl", image: "undecided" },
    "Compare the column p with the ✓: the label names one class, the large net says how near the image is to each other one, too. Move w to 1, and the gradient loses that.",
  ],
];

// The sample of which the large net is least sure.
function undecided() {
  const most = run.samples.map(({ teacher }) => Math.max(...softmax(teacher, 1)));
  return most.indexOf(Math.min(...most));
}

// A rate at which a step would take a quarter of the loss, to first order.
function quarter() {
  const square = sum(Object.values(now.back.grads).map((g) => sum(g.data.map((x) => x * x))));
  return Math.min(1, Math.max(1e-6, now.loss.value / (4 * square) || 1e-3));
}

function drawQuestions() {
  const items = QUESTIONS.map(([question, section, { layer, image, ...changes }, answer]) => {
    const ask = () => {
      Object.assign(state, AS_AT_FIRST, changes);
      now.wipe?.();
      if (image) state.sample = undecided();
      if (layer) {
        const convs = run.nets[state.net].layers.filter(({ op }) => op === "conv2d");
        const { name } = convs[1] || convs[0];
        Object.assign(state, atLayer(name), { tap: [1, 1] });
      }
      document.getElementById("printed").checked = state.printed;
      see();
      state.rate = quarter();
      drawAll();
      for (const place of document.querySelectorAll(".asked")) place.replaceChildren();
      fill(`${section}-asked`, h("b", {}, question), ` ${answer}`);
      const heading = document.getElementById(section);
      heading.focus({ preventScroll: true });
      heading.scrollIntoView();
    };
    return h("li", {}, h("button", { onclick: ask }, question));
  });
  fill("questions", ...items);
}

function drawAll() {
  drawImages();
  drawPredictions();
  drawLayers();
  drawDials();
  drawLoss();
  drawWalk();
  drawStep();
  drawCheck();
}

document.getElementById("rate").addEventListener("input", (event) => {
  state.rate = 10 ** Number(event.target.value);
  drawStep();
});
document.getElementById("printed").addEventListener("change", (event) => {
  state.printed = event.target.checked;
  drawStep();
});
dark.addEventListener("change", drawAll);
see();
state.rate = quarter();
drawQuestions();
drawPad();
drawAll();
setTimeout(compareNext, 0);
