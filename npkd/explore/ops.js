"use strict";

// The ops of a net, each its value and its backward pass, as npkd.ops has them: of one image, in
// float64.
//
//     const [y, backward] = conv2d(x, w, b, {stride: [1, 1], padding: [1, 1], groups: 1});
//     const [dx, dw, db] = backward(dy);
//
// An array is {shape, data}: data a Float64Array in row-major order, shape without the batch, (C, H,
// W) of an image and (C,) of a row. What dx, dw, … are the gradients of is a number L.

const size = (shape) => shape.reduce((product, n) => product * n, 1);
const array = (shape, data = new Float64Array(size(shape))) => ({ shape, data });
const map = (x, f) => array(x.shape, x.data.map(f));
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

// y[o,i,j] = b[o] + Σ_k Σ_u Σ_v x[k, i s + u − p, j s + v − p] w[o,k,u,v], of a group's channels k.
//
// Every product y ← w x is one of w and of x too, so ∂L/∂w and ∂L/∂x are sums over the same products:
// dw[o,k,u,v] = Σ_i Σ_j dy[o,i,j] x[…], dx[…] = Σ dy[o,i,j] w[o,k,u,v].
function conv2d(x, w, b, { stride, padding, groups }) {
  const [outputs, , kh, kw] = w.shape;
  const [, h, width] = x.shape;
  const rows = Math.floor((h + 2 * padding[0] - kh) / stride[0]) + 1;
  const columns = Math.floor((width + 2 * padding[1] - kw) / stride[1]) + 1;
  const y = array([outputs, rows, columns]);
  if (b) y.data.forEach((_, n) => (y.data[n] = b.data[Math.floor(n / (rows * columns))]));
  const options = { stride, padding, groups };
  eachRow(x, w, y, options, (t, atY, atX, count, step) => {
    for (let n = 0; n < count; n++) y.data[atY + n] += w.data[t] * x.data[atX + n * step];
  });
  const backward = (dy) => {
    const [dx, dw] = [array(x.shape), array(w.shape)];
    eachRow(x, w, y, options, (t, atY, atX, count, step) => {
      let total = 0;
      for (let n = 0; n < count; n++) {
        total += dy.data[atY + n] * x.data[atX + n * step];
        dx.data[atX + n * step] += dy.data[atY + n] * w.data[t];
      }
      dw.data[t] += total;
    });
    return [dx, dw, b && perChannel(dy)];
  };
  return [y, backward];
}

// Calls f(t, atY, atX, count, step) for each row of a convolution's products: w[t] meets
// x[atX + n step] in y[atY + n], n < count.
function eachRow(x, w, y, { stride, padding, groups }, f) {
  const [outputs, inputs, kh, kw] = w.shape;
  const [, h, width] = x.shape;
  const [, rows, columns] = y.shape;
  for (let o = 0; o < outputs; o++) {
    const group = Math.floor((o * groups) / outputs);
    for (let k = 0; k < inputs; k++) {
      for (let u = 0; u < kh; u++) {
        for (let v = 0; v < kw; v++) {
          const t = ((o * inputs + k) * kh + u) * kw + v;
          const first = Math.max(0, Math.ceil((padding[1] - v) / stride[1]));
          const last = Math.min(columns - 1, Math.floor((width - 1 + padding[1] - v) / stride[1]));
          for (let i = 0; i < rows; i++) {
            const r = i * stride[0] + u - padding[0];
            if (r < 0 || r >= h || last < first) continue;
            const atY = (o * rows + i) * columns + first;
            const atX = ((group * inputs + k) * h + r) * width;
            f(t, atY, atX + first * stride[1] + v - padding[1], last - first + 1, stride[1]);
          }
        }
      }
    }
  }
}

// The sum of each channel.
function perChannel(x) {
  const cells = x.data.length / x.shape[0];
  const total = (_, c) => sum(x.data.subarray(c * cells, (c + 1) * cells));
  return array([x.shape[0]], Float64Array.from({ length: x.shape[0] }, total));
}

// y[o] = b[o] + Σ_i w[o,i] x[i];  dx[i] = Σ_o dy[o] w[o,i], dw[o,i] = dy[o] x[i], db = dy.
function linear(x, w, b) {
  const [outputs, inputs] = w.shape;
  const y = array([outputs]);
  for (let o = 0; o < outputs; o++) {
    let total = b ? b.data[o] : 0;
    for (let i = 0; i < inputs; i++) total += w.data[o * inputs + i] * x.data[i];
    y.data[o] = total;
  }
  const backward = (dy) => {
    const [dx, dw] = [array(x.shape), array(w.shape)];
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        dx.data[i] += dy.data[o] * w.data[o * inputs + i];
        dw.data[o * inputs + i] = dy.data[o] * x.data[i];
      }
    }
    return [dx, dw, b && dy];
  };
  return [y, backward];
}

// y = max(x, 0);  dx = dy where x > 0, else 0: relu'(0) = 0.
function relu(x) {
  return [map(x, (value) => Math.max(value, 0)), (dy) => [map(dy, (d, n) => (x.data[n] > 0 ? d : 0))]];
}

// y = min(max(x, 0), 6);  dx = dy where 0 < x < 6, else 0.
function relu6(x) {
  const inside = (n) => x.data[n] > 0 && x.data[n] < 6;
  const y = map(x, (value) => Math.min(Math.max(value, 0), 6));
  return [y, (dy) => [map(dy, (d, n) => (inside(n) ? d : 0))]];
}

// The cells of x under cell (i, j) of channel c of a pool's output, as places in x.data.
function windowOf(x, [kh, kw], [sh, sw], c, i, j) {
  const [, h, width] = x.shape;
  const places = [];
  for (let u = 0; u < kh; u++) {
    for (let v = 0; v < kw; v++) places.push((c * h + i * sh + u) * width + j * sw + v);
  }
  return places;
}

// Calls f(n, places) for each cell n of a pool's output.
function eachWindow(x, y, kernel, stride, f) {
  const [channels, rows, columns] = y.shape;
  for (let c = 0, n = 0; c < channels; c++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++, n++) f(n, windowOf(x, kernel, stride, c, i, j));
    }
  }
}

function pooled(x, kernel, stride) {
  const [c, h, w] = x.shape;
  const cells = (length, k, s) => Math.floor((length - k) / s) + 1;
  return array([c, cells(h, kernel[0], stride[0]), cells(w, kernel[1], stride[1])]);
}

// The mean of each window;  each cell of it gets dy / (kh kw).
function avg_pool2d(x, { kernel, stride }) {
  const [y, share] = [pooled(x, kernel, stride), 1 / (kernel[0] * kernel[1])];
  eachWindow(x, y, kernel, stride, (n, places) => {
    y.data[n] = sum(places.map((place) => x.data[place])) * share;
  });
  const backward = (dy) => {
    const dx = array(x.shape);
    eachWindow(x, y, kernel, stride, (n, places) => {
      for (const place of places) dx.data[place] += dy.data[n] * share;
    });
    return [dx];
  };
  return [y, backward];
}

// The largest of each window, the first one of equals;  it alone gets dy.
function max_pool2d(x, { kernel, stride }) {
  const y = pooled(x, kernel, stride);
  const chosen = new Int32Array(y.data.length);
  eachWindow(x, y, kernel, stride, (n, places) => {
    chosen[n] = places.reduce((best, place) => (x.data[place] > x.data[best] ? place : best));
    y.data[n] = x.data[chosen[n]];
  });
  const backward = (dy) => {
    const dx = array(x.shape);
    chosen.forEach((place, n) => (dx.data[place] += dy.data[n]));
    return [dx];
  };
  return [y, backward];
}

// The mean of each channel;  each cell of it gets dy / (H W).
function global_avg_pool2d(x) {
  const [c, h, w] = x.shape;
  const y = map(perChannel(x), (total) => total / (h * w));
  const spread = (dy) =>
    array(
      x.shape,
      x.data.map((_, n) => dy.data[Math.floor(n / (h * w))] / (h * w)),
    );
  return [array([c, 1, 1], y.data), (dy) => [spread(dy)]];
}

// y = w (x − mean) / √(var + ε) + b, channel by channel, with what was remembered in training.
function batch_norm(x, w, b, mean, variance, { epsilon }) {
  const cells = x.data.length / x.shape[0];
  const of = (n) => Math.floor(n / cells);
  const s = variance.data.map((value) => 1 / Math.sqrt(value + epsilon));
  const scaled = map(x, (value, n) => (value - mean.data[of(n)]) * s[of(n)]);
  const y = map(scaled, (value, n) => w.data[of(n)] * value + b.data[of(n)]);
  const backward = (dy) => [
    map(dy, (d, n) => d * w.data[of(n)] * s[of(n)]),
    perChannel(map(dy, (d, n) => d * scaled.data[n])),
    perChannel(dy),
  ];
  return [y, backward];
}

// y = a + b;  both get dy.
function add(a, b) {
  return [map(a, (value, n) => value + b.data[n]), (dy) => [dy, dy]];
}

// (C, H, W) as a row.
function flatten(x) {
  return [array([x.data.length], x.data), (dy) => [array(x.shape, dy.data)]];
}

// Which of a layer's own arrays each op takes behind its inputs, in order; those that are trained
// come first, and are what its backward pass gives gradients by.
const TAKES = {
  conv2d: ["weight", "bias"],
  linear: ["weight", "bias"],
  batch_norm: ["weight", "bias", "running_mean", "running_var"],
};
const TRAINED = ["weight", "bias"];
const OPS = {
  ...{ conv2d, linear, relu, relu6, avg_pool2d, max_pool2d, global_avg_pool2d },
  ...{ batch_norm, add, flatten },
};

// Bytes in base64; the numbers in it are little-endian, whatever the machine is.
function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let n = 0; n < bytes.length; n++) bytes[n] = letters.charCodeAt(n);
  return bytes;
}

// The arrays of a net by name, from its float32 values in one row.
function paramsOf({ arrays, values }) {
  const view = new DataView(bytesOf(values).buffer);
  const data = new Float64Array(view.byteLength / 4);
  for (let n = 0; n < data.length; n++) data[n] = view.getFloat32(4 * n, true);
  const part = ([name, { shape, at }]) => [name, array(shape, data.subarray(at, at + size(shape)))];
  return Object.fromEntries(Object.entries(arrays).map(part));
}

// The outputs of a net's layers by name, and its backward pass, as npkd's `Network.features`.
//
// net: its layers in order, {name, op, takes, options}. params: arrays by "name.key". known: outputs
// that are known, the images as "x"; the layers from number `first` on are computed.
function features(net, params, known, first = 0) {
  const outputs = { ...known };
  const backwards = [];
  for (const layer of net.layers.slice(first)) {
    const own = (TAKES[layer.op] || []).map((key) => params[`${layer.name}.${key}`]);
    const inputs = layer.takes.map((name) => outputs[name]);
    const [y, backward] = OPS[layer.op](...inputs, ...own, layer.options);
    outputs[layer.name] = y;
    backwards.push([layer, backward]);
  }
  // By the outputs of all layers, dys, and by the parameters, grads, from that by the last output.
  const backward = (dy) => {
    const dys = { [net.layers.at(-1).name]: dy };
    const grads = {};
    for (const [layer, one] of backwards.slice().reverse()) {
      const gradients = one(dys[layer.name]);
      layer.takes.forEach((name, n) => {
        dys[name] = dys[name] ? add(dys[name], gradients[n])[0] : gradients[n];
      });
      (TAKES[layer.op] || []).forEach((key, n) => {
        const gradient = gradients[layer.takes.length + n];
        if (TRAINED.includes(key) && gradient) grads[`${layer.name}.${key}`] = gradient;
      });
    }
    return { dys, grads };
  };
  return [outputs, backward];
}

// θ − α ∂L/∂θ, of all parameters that there is a gradient by.
function stepped(params, grads, rate) {
  const moved = {};
  for (const [name, theta] of Object.entries(params)) {
    const g = grads[name];
    moved[name] = g ? array(theta.shape, theta.data.slice()) : theta;
    for (let n = 0; g && n < g.data.length; n++) moved[name].data[n] -= rate * g.data[n];
  }
  return moved;
}
