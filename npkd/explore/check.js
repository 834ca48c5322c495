"use strict";

// 5. One step

function lossWith(params) {
  const net = run.nets[state.net];
  const [outputs] = features(net, params, { x: takenBySmall(now.views) });
  const given = { ...now.given, z: logitsOf(state.net, outputs) };
  return objective(state.loss, now.w, given).value;
}

function drawStep() {
  const { params } = run.nets[state.net];
  const { grads } = now.back;
  const sign = state.printed ? -1 : 1; // ∂L/∂y_large = −∂L/∂y_small, where the loss is L2
  const square = sum(Object.values(grads).map((g) => sum(g.data.map((x) => x * x))));
  const lossAt = (rate) => lossWith(stepped(params, grads, sign * rate));
  const [before, after] = [now.loss.value, lossAt(state.rate)];
  const predicted = before - sign * state.rate * square;
  const by = sign > 0 ? "−" : "+";
  const moved =
    after > before
      ? `The loss has risen by ${said(after - before)}.`
      : after < before
        ? `The loss has fallen by ${said(before - after)}.`
        : "The loss has not changed.";
  const why =
    state.loss === "l2" && now.w === 0
      ? " For the gradient of L2 the document that npkd follows prints y_large − y_small. That is ∂L/∂y_large, the gradient by the teacher's output: a step along it leads away from the teacher."
      : " The document that npkd follows prints it so, for L2.";
  document.getElementById("rate").value = Math.log10(state.rate);
  document.getElementById("rate").setAttribute("aria-valuetext", said(state.rate));
  document.getElementById("rate-now").value = said(state.rate);
  fill(
    "stepped",
    line(`θ ← θ ${by} α g,  g = ∂L/∂θ,  L(θ ${by} α g) = L(θ) ${by} α ‖g‖² + …`),
    tableOf(
      ["", "L"],
      [
        ["before", said(before)],
        [`predicted, ${said(before)} ${by} ${said(state.rate)} · ${said(square)}`, said(predicted)],
        ["after the step", h("b", { id: "after" }, said(after))],
      ],
    ),
    h(
      "p",
      { id: "moved", className: after > before ? "rises" : "falls" },
      Number.isFinite(after) ? moved : "The loss after the step is no number.",
      state.printed ? why : "",
    ),
    h("div", { id: "curve" }),
  );
  clearTimeout(now.curve);
  now.curve = setTimeout(() => fill("curve", curveOf(lossAt, before, sign * square)), 30);
}

// The loss along the step, up to twice its length, beside its tangent.
function curveOf(lossAt, before, slope) {
  const points = Array.from({ length: 9 }, (_, n) => (state.rate * n) / 4);
  const curve = points.map((rate) => [rate, lossAt(rate)]);
  const straight = points.map((rate) => [rate, before - rate * slope]);
  const all = curve.map(([, y]) => y);
  const [low, high] = [Math.min(0, ...all), Math.max(...all)];
  const ticks = [low, low + (high - low) / 2, high];
  return curves(
    [
      { name: "L after a step of this length", points: curve },
      { name: `first order, L ${slope < 0 ? "+" : "−"} α ‖g‖²`, points: straight },
    ],
    {
      what: "the loss after a step, by its length",
      x: { name: "α", ticks: [0, state.rate, 2 * state.rate], scale: (v) => v, said },
      y: { name: "L", ticks, scale: (v) => v, said },
    },
  );
}

// 6. The gradient, checked

const LEAST_ERROR = 1e-17; // that is drawn; the two may be equal
const errorSaid = (error) => (error <= LEAST_ERROR ? "less than 1e−17" : said(error, 3));

function errorsOf(f, exact, complex) {
  const hs = Array.from({ length: STEPS }, (_, n) => 10 ** (-0.45 * n));
  const error = (found) => Math.max(Math.abs(found - exact) / Math.abs(exact), LEAST_ERROR);
  const central = hs.map((step) => [step, error((f(step) - f(-step)) / (2 * step))]);
  const forward = hs.map((step) => [step, error((f(step) - f(0)) / step)]);
  const lines = [
    { name: "forward differences", points: forward },
    { name: "central differences", points: central },
  ];
  if (complex)
    lines.push({
      name: "complex step",
      points: hs.map((step) => [step, error(complex(step) / step)]),
    });
  return lines;
}

const powers = (first, last, step) =>
  Array.from({ length: Math.round((last - first) / step) + 1 }, (_, n) => 10 ** (first + n * step));
const POWER = (v) => `1e${Math.round(Math.log10(v))}`.replace("-", "−");
const LOGS = {
  x: { name: "step h", ticks: powers(-18, 0, 3), scale: Math.log10, said: POWER },
  y: {
    name: "relative error of the derivative",
    ticks: powers(-18, 3, 3),
    scale: Math.log10,
    said: POWER,
  },
};

function drawCheck() {
  const net = run.nets[state.net];
  const last = net.layers.at(-1);
  const { outputs } = now.nets[state.net];
  const before = outputs[last.takes[0]];
  const [z, c] = [now.given.z, state.chosen];
  // The weight of the chosen class by the largest number that the layer takes: y[c] moves by h x[j]
  const j = furthest(before.data);
  const x = before.data[j];
  const moved = (re, im) => z.map((value, k) => (k === c ? [value + re * x, im * x] : real(value)));
  const by = (re, im = 0) => objectiveOf(state.loss, now.w, { ...now.given, z: moved(re, im) });
  const exact = now.loss.gradient[c] * x;
  const lines = errorsOf(
    (step) => by(step)[0],
    exact,
    (step) => by(0, step)[1],
  );
  const least = Math.min(...lines[1].points.map(([, error]) => error));
  fill(
    "last",
    h(
      "p",
      {},
      `${last.name}.weight[${c}, ${j}], which takes x[${j}] = ${said(x)}. By the backward pass: ∂L/∂w = dy[${c}] · x[${j}] = ${said(exact)}. ` +
        `Of central differences the best step comes within ${errorSaid(least)} of it, a complex step of 1e−18 within ${errorSaid(lines[2].points.at(-1)[1])}. ` +
        "L(w + ih) = L(w) + ih L′(w) − …, so Im L / h subtracts no two values of L, and h may be as small as one likes: " +
        "what is left is the rounding of the formula itself, and of the backward pass beside it. " +
        "(L2 is a square: its central difference has no other error than rounding, so that there the largest step is best. " +
        "L1 and Huber have kinks of their own, where |z − t| is 0 or 1.)",
    ),
    exact
      ? curves(lines, {
          what: "error of three ways to a derivative, by the size of the step",
          ...LOGS,
        })
      : h("p", {}, "This derivative is 0 here; choose another class."),
  );
  drawKink();
}

// The unit before the last ReLU that is nearest to its kink.
function drawKink() {
  const net = run.nets[state.net];
  const number = net.layers.findLastIndex(({ op }) => op === "relu" || op === "relu6");
  const [layer, { outputs }] = [net.layers[number], now.nets[state.net]];
  const [input, dys] = [outputs[layer.takes[0]], now.back.dys[layer.name]];
  let at = -1;
  const most = layer.op === "relu6" ? 6 : Infinity;
  input.data.forEach((value, n) => {
    if (dys.data[n] && value > 0 && value < most && (at < 0 || value < input.data[at])) at = n;
  });
  if (at < 0) {
    fill("kink", h("p", {}, "No unit of the last ReLU is open here."));
    return;
  }
  const known = { ...outputs };
  const f = (step) => {
    known[layer.takes[0]] = array(input.shape, input.data.slice());
    known[layer.takes[0]].data[at] += step;
    const [found] = features(net, net.params, known, number);
    return objective(state.loss, now.w, { ...now.given, z: logitsOf(state.net, found) }).value;
  };
  const lines = errorsOf(f, dys.data[at]);
  const far = input.data[at];
  fill(
    "kink",
    h(
      "p",
      {},
      `The derivative by one number: ${layer.takes[0]}[${at}] = ${said(far)}, the one that is nearest to the kink of ${layer.name} at 0 of those above it. ` +
        `By the backward pass it is ${said(dys.data[at])}. A central difference with a step longer than ${said(far)} looks across the kink, ` +
        "to where the ReLU is flat, and is the slope of neither side. (Forward steps lead away from it here.) " +
        "No tolerance makes such a difference right; a check has to know how far the kink is.",
    ),
    curves(lines, {
      what: "error of differences beside a kink, by the size of the step",
      ...LOGS,
      marks: [[far, "the kink"]],
    }),
  );
}

// 0. The numbers, beside those of npkd

const relative = (found, known) => {
  const scale = largest(known);
  return found.reduce((most, value, n) => Math.max(most, Math.abs(value - known[n]) / scale), 0);
};

// Three numbers of a gradient, as npkd has stored them: Σ g², Σ g θ, Σ g (n mod 7 − 3).
function digestOf(g, theta) {
  let [squares, along, places] = [0, 0, 0];
  g.data.forEach((value, n) => {
    squares += value * value;
    along += value * theta.data[n];
    places += value * ((n % 7) - 3);
  });
  return [squares, along, places];
}

// The largest differences of one sample's numbers to npkd's: outputs, losses, their gradients by the
// outputs, and by the parameters; each of the size of the largest number beside it. Losses are of
// npkd's outputs and the backward pass begins with npkd's gradient, so that each has its own rounding
// alone.
function differencesTo(sample, net) {
  const { params } = run.nets[net];
  const known = sample.known[net];
  const [outputs, backward] = features(run.nets[net], params, {
    x: takenBySmall(views(sample.pixels)),
  });
  const found = {
    outputs: relative(logitsOf(net, outputs), known.z),
    values: 0,
    gradients: 0,
    parameters: 0,
  };
  for (const [name, T, value, gradient] of known.losses) {
    const one = LOSSES[name].by({ z: known.z, t: sample.teacher, l: sample.label, T });
    found.values = Math.max(found.values, relative([one.value], [value]));
    found.gradients = Math.max(found.gradients, relative(one.gradient, gradient));
  }
  const [, , , gradient] = known.losses.find(([name]) => name === "l2");
  const { grads } = backward(array([gradient.length], Float64Array.from(gradient)));
  for (const [name, [squares, along, places, size]] of Object.entries(known.grads)) {
    const digest = digestOf(grads[name], params[name]);
    const apart = digest.map((x, n) => Math.abs(x - [squares, along, places][n]));
    const parts = apart.map((x, n) => (x === 0 ? 0 : x / [squares, ...size][n]));
    found.parameters = Math.max(found.parameters, ...parts);
  }
  return found;
}

const compared = { samples: 0, outputs: 0, values: 0, gradients: 0, parameters: 0 };

function compareNext() {
  if (compared.samples === run.samples.length) return;
  const sample = run.samples[compared.samples++];
  for (const net of NETS) {
    for (const [name, value] of Object.entries(differencesTo(sample, net))) {
      compared[name] = Math.max(compared[name], Number.isNaN(value) ? Infinity : value);
    }
  }
  drawCompared();
  setTimeout(compareNext, 0);
}

function drawCompared() {
  const { samples, outputs, values, gradients, parameters } = compared;
  const most = Math.max(outputs, values, gradients, parameters);
  const right = most <= MOST_ROUNDING;
  const status = document.getElementById("status");
  const done = samples === run.samples.length;
  status.className = !right ? "wrong" : done ? "right" : "";
  status.replaceChildren(
    !right
      ? "This page does NOT compute what npkd does. "
      : done
        ? "This page computes what npkd does. "
        : "The page compares its numbers. ",
    `On ${samples} of ${run.samples.length} samples, two nets each, the largest relative difference to npkd's own numbers is `,
    h("b", { id: "most" }, said(most)),
    ` (outputs ${said(outputs)}, losses ${said(values)}, their gradients ${said(gradients)}, those by the weights ${said(parameters)}); ` +
      `up to ${said(MOST_ROUNDING)} it is taken for rounding.`,
  );
}
