"use strict";

// The losses on outputs, as npkd.losses has them: of one image, whose student's and teacher's logits
// are z and t, and whose label is l.
//
//     const {value, gradient} = LOSSES.kl.by({z, t, l, T: 4});         // the gradient by hand
//     const [real, imaginary] = LOSSES.kl.of({z, t, l, T: 4});         // the value alone, z complex
//
// `of` is the formula as it stands, for the complex step and for differences: it knows of no gradient.

const softmax = (z, T) => logSoftmax(z, T).map(Math.exp);

// log softmax(z / T)[c] = y[c] − log(1 + Σ_{k≠r} e^y[k]), y = (z − z[r]) / T, z[r] the largest.
function logSoftmax(z, T) {
  const r = z.indexOf(Math.max(...z));
  const y = z.map((value) => (value - z[r]) / T);
  const all = Math.log1p(sum(others(y, r).map(Math.exp)));
  return y.map((value) => value - all);
}

// u = log q − log p from d = (z − t) / T, in which digits remain where q is near p, and
// log Σ p e^d. With r a class that is likely in both and f = d − d[r]: u = f − log Σ p e^f.
function ratio(d, logP, logQ) {
  const least = logP.map((value, c) => Math.min(value, logQ[c]));
  const r = least.indexOf(Math.max(...least));
  const f = d.map((value) => value - d[r]);
  const all = Math.log1p(sum(f.map((value, c) => Math.exp(logP[c]) * Math.expm1(value))));
  return { u: f.map((value) => value - all), apart: d[r] + all };
}

// Σ p (log p − log q) = Σ p (e^u − 1 − u), and q − p = p (e^u − 1): no two terms cancel.
function phi(u) {
  if (Math.abs(u) > 0.5) return Math.expm1(u) - u;
  let [term, total] = [(u * u) / 2, 0];
  for (let k = 3; k < 20; k++, term *= u / (k - 1)) total += term; // Σ u^k / k!, k from 2
  return total;
}
const apartBy = (logP, u) => sum(u.map((value, c) => Math.exp(logP[c]) * phi(value)));
const stepBy = (logP, u) => u.map((value, c) => Math.exp(logP[c]) * Math.expm1(value));

// Complex numbers are pairs [real, imaginary].
const real = (x) => [x, 0];
const plus = (a, b) => [a[0] + b[0], a[1] + b[1]];
const minus = (a, b) => [a[0] - b[0], a[1] - b[1]];
const times = (a, b) => [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]];
const scaled = (a, factor) => [a[0] * factor, a[1] * factor];
const total = (numbers) => numbers.reduce(plus, [0, 0]);
const exp = ([a, b]) => [Math.exp(a) * Math.cos(b), Math.exp(a) * Math.sin(b)];
const log = ([a, b]) => [Math.log(Math.hypot(a, b)), Math.atan2(b, a)];

function complexLogSoftmax(z, T) {
  const most = Math.max(...z.map((value) => value[0]));
  const y = z.map((value) => scaled(minus(value, real(most)), 1 / T));
  const all = log(total(y.map(exp)));
  return y.map((value) => minus(value, all));
}

const apart = ({ z, t }) => z.map((value, c) => minus(value, real(t[c])));
const differences = ({ z, t }) => z.map((value, c) => value - t[c]);
const scaledDifferences = (given) => differences(given).map((d) => d / given.T);
const others = (values, l) => values.filter((_, c) => c !== l);
const HUBER = 1; // δ
const JS = 0.5; // β
const [ALPHA, BETA] = [1, 8]; // of dkd

// Σ p (log p − log q) of real p and complex log q.
const divergence = (p, logQ) =>
  total(p.map((value, c) => scaled(minus(real(Math.log(value)), logQ[c]), value)));

// Of one softmax by the label and all the rest: log Σ_{c≠l} e^{z[c] / T}, z complex.
const rest = (z, l, T) => log(total(others(z, l).map((value) => exp(scaled(value, 1 / T)))));

const LOSSES = {
  l2: {
    title: "L2, the document's",
    teacher: true,
    formula: "½ Σ (z − t)²",
    derivative: "z − t",
    of: (given) => scaled(total(apart(given).map((d) => times(d, d))), 0.5),
    by(given) {
      const d = differences(given);
      return { value: 0.5 * sum(d.map((x) => x * x)), gradient: d };
    },
  },
  kl: {
    title: "KL at temperature T, Hinton's",
    teacher: true,
    softened: true,
    formula: "T² Σ p (log p − log q),  p = softmax(t / T), q = softmax(z / T)",
    derivative: "T (q − p)",
    of: ({ z, t, T }) => scaled(divergence(softmax(t, T), complexLogSoftmax(z, T)), T * T),
    by({ z, t, T }) {
      const logP = logSoftmax(t, T);
      const { u } = ratio(scaledDifferences({ z, t, T }), logP, logSoftmax(z, T));
      return { value: T * T * apartBy(logP, u), gradient: stepBy(logP, u).map((x) => T * x) };
    },
  },
  limit: {
    title: "the limit of KL as T grows",
    teacher: true,
    formula: "Σ (Δ − mean Δ)² / 2C,  Δ = z − t",
    derivative: "(Δ − mean Δ) / C",
    of(given) {
      const d = apart(given);
      const mean = scaled(total(d), 1 / d.length);
      const squares = d.map((x) => times(minus(x, mean), minus(x, mean)));
      return scaled(total(squares), 0.5 / d.length);
    },
    by(given) {
      const d = differences(given);
      const centred = d.map((x) => x - sum(d) / d.length);
      return {
        value: sum(centred.map((x) => x * x)) / (2 * d.length),
        gradient: centred.map((x) => x / d.length),
      };
    },
  },
  soft_cross_entropy: {
    title: "cross-entropy with the softened teacher",
    teacher: true,
    softened: true,
    formula: "−T² Σ p log q",
    derivative: "T (q − p)",
    of({ z, t, T }) {
      const [p, logQ] = [softmax(t, T), complexLogSoftmax(z, T)];
      return scaled(total(logQ.map((value, c) => scaled(value, p[c]))), -T * T);
    },
    by({ z, t, T }) {
      const [p, logQ] = [softmax(t, T), logSoftmax(z, T)];
      return {
        value: -T * T * sum(p.map((x, c) => x * logQ[c])),
        gradient: LOSSES.kl.by({ z, t, T }).gradient,
      };
    },
  },
  js: {
    title: "Jensen-Shannon, β = ½",
    teacher: true,
    softened: true,
    formula: "T² (½ Σ p (log p − log m) + ½ Σ q (log q − log m)),  m = ½ (p + q)",
    derivative: "½ T q (s − Σ q s),  s = log q − log m",
    of({ z, t, T }) {
      const [p, logQ] = [softmax(t, T), complexLogSoftmax(z, T)];
      const q = logQ.map(exp);
      const logM = q.map((x, c) => log(plus(scaled(x, 1 - JS), real(JS * p[c]))));
      const ofQ = total(q.map((x, c) => times(x, minus(logQ[c], logM[c]))));
      return scaled(plus(scaled(divergence(p, logM), JS), scaled(ofQ, 1 - JS)), T * T);
    },
    // log m − log p = log(1 + (1 − β)(e^u − 1)), and so for q
    by({ z, t, T }) {
      const [logP, logQ] = [logSoftmax(t, T), logSoftmax(z, T)];
      const { u } = ratio(scaledDifferences({ z, t, T }), logP, logQ);
      const ofP = u.map((x) => Math.log1p((1 - JS) * Math.expm1(x)));
      const ofQ = u.map((x) => Math.log1p(JS * Math.expm1(-x)));
      const q = logQ.map(Math.exp);
      const mean = sum(q.map((x, c) => -x * ofQ[c]));
      return {
        value: T * T * (JS * apartBy(logP, ofP) + (1 - JS) * apartBy(logQ, ofQ)),
        gradient: q.map((x, c) => T * (1 - JS) * x * (-ofQ[c] - mean)),
      };
    },
  },
  dkd: {
    title: "decoupled KL (DKD), α = 1, β = 8",
    teacher: true,
    softened: true,
    label: true,
    formula:
      "T² (α KL(b′, b) + β KL(r′, r)),  b = (q[l], 1 − q[l]), r = q of the other classes / (1 − q[l]); ′: the large net's",
    derivative: "T α (b − b′) at the label;  T (α (b′ − b) r + β (r − r′)) elsewhere, b, b′ of the label",
    of({ z, t, l, T }) {
      const [p, logQ] = [softmax(t, T), complexLogSoftmax(z, T)];
      const inRest = (k) => complexLogSoftmax(others(k, l), T);
      const logB = [logQ[l], minus(rest(z, l, T), log(total(z.map((x) => exp(scaled(x, 1 / T))))))];
      const two = divergence([p[l], sum(others(p, l))], logB);
      const ofRest = softmax(others(t, l), T);
      const among = divergence(ofRest, inRest(z));
      return scaled(plus(scaled(two, ALPHA), scaled(among, BETA)), T * T);
    },
    by({ z, t, l, T }) {
      const d = scaledDifferences({ z, t, T });
      const [r, rOfT] = [z, t].map((of) => logSoftmax(others(of, l), T));
      const among = ratio(others(d, l), rOfT, r);
      const [b, bOfT] = [z, t].map((of) => {
        const most = Math.max(...others(of, l));
        const all = Math.log(sum(others(of, l).map((x) => Math.exp((x - most) / T))));
        return logSoftmax([of[l] / T, most / T + all], 1); // of the label, and of the rest
      });
      const two = ratio([d[l], among.apart], bOfT, b);
      const [atLabel, atRest] = stepBy(bOfT, two.u).map((x) => ALPHA * x);
      const inRest = stepBy(rOfT, among.u).map((x) => BETA * x);
      const gradient = inRest.map((x, c) => T * (atRest * Math.exp(r[c]) + x));
      gradient.splice(l, 0, T * atLabel);
      const value = ALPHA * apartBy(bOfT, two.u) + BETA * apartBy(rOfT, among.u);
      return { value: T * T * value, gradient };
    },
  },
  l1: {
    title: "L1",
    teacher: true,
    formula: "Σ |z − t|",
    derivative: "sign(z − t)",
    of: (given) => total(apart(given).map((d) => scaled(d, Math.sign(d[0])))),
    by(given) {
      const d = differences(given);
      return { value: sum(d.map(Math.abs)), gradient: d.map(Math.sign) };
    },
  },
  huber: {
    title: "Huber, δ = 1",
    teacher: true,
    formula: "Σ ½ Δ² where |Δ| ≤ δ, else δ (|Δ| − ½ δ),  Δ = z − t",
    derivative: "Δ held between −δ and δ",
    of(given) {
      const far = (d) => scaled(minus(scaled(d, Math.sign(d[0])), real(HUBER / 2)), HUBER);
      const near = (d) => scaled(times(d, d), 0.5);
      return total(apart(given).map((d) => (Math.abs(d[0]) <= HUBER ? near(d) : far(d))));
    },
    by(given) {
      const d = differences(given);
      const far = (x) => HUBER * (Math.abs(x) - HUBER / 2);
      return {
        value: sum(d.map((x) => (Math.abs(x) <= HUBER ? 0.5 * x * x : far(x)))),
        gradient: d.map((x) => Math.max(-HUBER, Math.min(HUBER, x))),
      };
    },
  },
  cross_entropy: {
    title: "cross-entropy with the label",
    label: true,
    formula: "−log softmax(z)[l]",
    derivative: "softmax(z) − [c = l]",
    of: ({ z, l }) => scaled(complexLogSoftmax(z, 1)[l], -1),
    by({ z, l }) {
      const logQ = logSoftmax(z, 1);
      const gradient = logQ.map((x, c) => (c === l ? Math.expm1(x) : Math.exp(x)));
      return { value: -logQ[l], gradient };
    },
  },
};

// w · cross-entropy with the label + (1 − w) · a loss: value and gradient of both, and of the sum.
// Without a teacher, where w is 1, there is no other loss.
function objective(name, w, given) {
  const none = { value: 0, gradient: given.z.map(() => 0) };
  const hard = LOSSES.cross_entropy.by(given);
  const soft = given.t || w < 1 ? LOSSES[name].by(given) : none;
  return {
    ...{ hard, soft, value: w * hard.value + (1 - w) * soft.value },
    gradient: given.z.map((_, c) => w * hard.gradient[c] + (1 - w) * soft.gradient[c]),
  };
}

// The same value for complex z, by the formulas alone.
function objectiveOf(name, w, given) {
  const hard = w > 0 ? LOSSES.cross_entropy.of(given) : [0, 0];
  const soft = w < 1 ? LOSSES[name].of(given) : [0, 0];
  return plus(scaled(hard, w), scaled(soft, 1 - w));
}
