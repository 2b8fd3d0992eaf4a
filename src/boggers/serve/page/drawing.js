// Curves, paths and nodes as SVG.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [320, 200, 46, 24, 10, 10];

function add(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function scale([low, high], [from, to]) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

export function short(number) {
  if (number === null || number === undefined || !Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  return size !== 0 && (size < 0.001 || size >= 100000)
    ? number.toExponential(1) : String(Number(number.toPrecision(3)));
}

const extent = (values) => [Math.min(...values), Math.max(...values)];

// One number after every step; the steps up to `now` are drawn, stages parted by dashed lines.
export function curve(svg, values, now, stages) {
  svg.replaceChildren();
  if (!values.length) {
    add(svg, "text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "no steps");
    return;
  }
  const x = scale([0, Math.max(1, values.length - 1)], [LEFT, WIDTH - RIGHT]);
  const [low, high] = extent(values);
  const y = scale([low, high], [HEIGHT - BOTTOM, TOP]);
  add(svg, "line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM });
  add(svg, "line", { class: "axis", x1: LEFT, x2: LEFT, y1: TOP, y2: HEIGHT - BOTTOM });
  for (const value of new Set([low, high])) {
    add(svg, "text", { x: LEFT - 4, y: y(value) + 3, "text-anchor": "end" }, short(value));
  }
  add(svg, "text", { x: WIDTH - RIGHT, y: HEIGHT - 8, "text-anchor": "end" }, `${values.length} steps`);
  for (let stage = 1; stage < stages; stage++) {
    const at = x((values.length / stages) * stage - 0.5);
    add(svg, "line", { class: "edge", x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM });
  }
  const seen = values.slice(0, now + 1);
  add(svg, "polyline", { class: "curve", points: seen.map((v, k) => `${x(k)},${y(v)}`).join(" ") });
  seen.forEach((value, k) => {
    const kind = k === seen.length - 1 ? "dot now" : "dot";
    add(svg, "circle", { class: kind, cx: x(k), cy: y(value), r: k === seen.length - 1 ? 4 : 2.5 });
  });
}

// The paths of all tokens, faint, and that of the chosen one up to `now`.
export function path(svg, tokens, chosen, now) {
  svg.replaceChildren();
  const points = tokens.flatMap((token) => token.path);
  if (!points.length) return;
  const x = scale(extent(points.map((p) => p[0])), [10, WIDTH - 10]);
  const y = scale(extent(points.map((p) => p[1])), [HEIGHT - 10, 10]);
  const line = (steps) => steps.map(([a, b]) => `${x(a)},${y(b)}`).join(" ");
  tokens.forEach((token) => add(svg, "polyline", { class: "other", points: line(token.path) }));
  const seen = tokens[chosen].path.slice(0, now + 1);
  add(svg, "polyline", { class: "curve", points: line(seen) });
  seen.forEach(([a, b], k) => {
    const kind = k === seen.length - 1 ? "dot now" : "dot";
    add(svg, "circle", { class: kind, cx: x(a), cy: y(b), r: k === seen.length - 1 ? 5 : 2.5 });
  });
}

// Nodes in a ring, large where they are active, marked where they are tense.
export function nodes(svg, found) {
  svg.replaceChildren();
  const shown = found.slice(0, 40);
  const most = Math.max(...shown.map((node) => node.activation), 1e-9);
  const tense = Math.max(...shown.map((node) => node.tension), 1e-9);
  shown.forEach((node, k) => {
    const angle = (2 * Math.PI * k) / shown.length - Math.PI / 2;
    const [cx, cy] = [160 + 120 * Math.cos(angle), 100 + 72 * Math.sin(angle)];
    const r = 3 + 9 * Math.max(0, node.activation / most);
    const circle = add(svg, "circle", { class: node.tension > tense / 2 ? "dot now" : "dot", cx, cy, r });
    add(circle, "title", {}, `${node.name}: activation ${short(node.activation)}, tension ${short(node.tension)}`);
    if (shown.length <= 12) {
      add(svg, "text", { x: cx, y: cy + r + 10, "text-anchor": "middle" }, node.name.slice(0, 14));
    }
  });
}
