// The observatory: write, then look at how every token settled.

import * as api from "./api.js";
import { curve, nodes, path, short } from "./drawing.js";

const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

let tokens = []; // what is known of every token
let stages = 1;
let chosen = -1;
let running = null; // the request that is being answered
let player = null;
let traced = false;

async function introduce() {
  try {
    const { data } = await api.get("v1/models");
    const { id, meta } = data[0];
    $("model").textContent =
      `${id} · ${meta.architecture} · ${meta.n_params.toLocaleString()} parameters · ` +
      `${meta.checkpoint} · ${meta.relax_steps} relaxation steps`;
    $("keyfield").hidden = !api.key;
    await showGraph();
  } catch (error) {
    $("model").textContent = error.message;
    $("keyfield").hidden = error.status !== 401;
    if (error.status === 503) setTimeout(introduce, 1000);
  }
}

async function showGraph() {
  try {
    if ((await api.get("health")).ts_tension === null) return;
    const found = await api.get("ts/nodes");
    const now = await api.get("ts/tension");
    nodes($("graph"), found.nodes);
    $("graphline").textContent = `tick ${now.tick} · tension ${short(now.ts_tension)}`;
    $("graphbox").hidden = false;
  } catch {
    $("graphbox").hidden = true;
  }
}

function dials() {
  const steps = $("steps").value;
  const towards = $("towards").value;
  return {
    ...(steps === "" ? {} : { relax_steps: Number(steps) }),
    ...(towards === "" ? {} : { energy_bias: { towards: [towards], strength: 4 } }),
  };
}

async function settle(event) {
  event.preventDefault();
  running?.abort();
  const mine = (running = new AbortController());
  begin();
  const prompt = $("prompt").value;
  let text = prompt;
  try {
    say("Writing …");
    text += await write(prompt, mine.signal);
  } catch (error) {
    if (error.name !== "AbortError") return fail(error, mine);
    text += tokens.map((token) => token.text).join("");
  }
  try {
    say("Tracing every step …");
    await trace(text, [...prompt].length, running === mine ? new AbortController().signal : mine.signal);
    say(`${tokens.length} tokens, ${short(mean("steps"))} steps each.`);
    await showGraph();
  } catch (error) {
    return fail(error, mine);
  }
  finish(mine);
}

async function write(prompt, signal) {
  const body = {
    prompt, stream: true, attractor_meta: true, logprobs: 0,
    max_tokens: Number($("tokens").value), temperature: Number($("temperature").value), ...dials(),
  };
  let text = "";
  for await (const { choices } of api.stream("v1/completions", body, signal)) {
    for (const { text: piece, logprobs, attractor_meta: meta } of choices) {
      text += piece;
      logprobs?.tokens.forEach((_, k) => tokens.push({
        text: k === 0 ? piece : "", surprise: -logprobs.token_logprobs[k], energy: meta.energy[k],
        tension: meta.tension[k], steps: meta.relax_steps[k], residual: meta.residual[k],
        energies: meta.energy_curve, tensions: meta.tension_curve, path: [], tops: [], given: false,
      }));
    }
    paint();
    choose(tokens.length - 1);
  }
  return text;
}

async function trace(text, given, signal) {
  const found = await api.post("v1/trace", { prompt: text, ...dials() }, signal);
  let length = 0;
  tokens = found.tokens.map((token) => {
    const started = length;
    length += [...token.text].length;
    return { ...token, given: started < given };
  });
  stages = found.stages;
  traced = true;
  $("plane").textContent =
    `The two directions hold ${Math.round(100 * (found.explained[0] + found.explained[1]))} % ` +
    "of how all states of this text vary.";
  paint();
  choose(tokens.length - 1);
  if (!calm) play();
}

function begin() {
  clearInterval(player);
  [tokens, chosen, stages, traced] = [[], -1, 1, false];
  $("go").disabled = true;
  $("stop").disabled = false;
  $("status").classList.remove("error");
  paint();
}

function finish(mine) {
  if (running !== mine) return;
  running = null;
  $("go").disabled = false;
  $("stop").disabled = true;
}

function fail(error, mine) {
  if (running !== mine) return;
  say(error.message);
  $("status").classList.add("error");
  $("keyfield").hidden = error.status !== 401 && !api.key;
  finish(mine);
}

const say = (sentence) => ($("status").textContent = sentence);

function mean(name) {
  return tokens.reduce((sum, token) => sum + (token[name] ?? 0), 0) / Math.max(1, tokens.length);
}

function paint() {
  const by = document.querySelector("input[name=colour]:checked").value;
  const known = tokens.map((token) => token[by]).filter((value) => Number.isFinite(value));
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const shown = $("text").children;
  while (shown.length > tokens.length) shown[shown.length - 1].remove();
  tokens.forEach((token, place) => {
    let span = shown[place];
    if (!span) {
      span = document.createElement("span");
      span.setAttribute("role", "option");
      span.addEventListener("click", () => choose(place));
      $("text").append(span);
    }
    span.id = `token-${place}`;
    span.className = token.given ? "token prompt" : "token";
    span.textContent = token.text;
    const value = token[by];
    const heat = Number.isFinite(value) && high > low ? (value - low) / (high - low) : 0;
    span.style.setProperty("--heat", heat.toFixed(3));
  });
}

function choose(place) {
  if (!tokens.length) return drawStep(0);
  $(`token-${chosen}`)?.setAttribute("aria-selected", "false");
  chosen = Math.max(0, Math.min(tokens.length - 1, place));
  const span = $(`token-${chosen}`);
  span.setAttribute("aria-selected", "true");
  $("text").setAttribute("aria-activedescendant", span.id);
  const token = tokens[chosen];
  $("about").textContent =
    `${JSON.stringify(token.text)}: surprise ${short(token.surprise)} nats · energy ${short(token.energy)} · ` +
    `tension ${short(token.tension)} · ${token.steps} steps · residual ${short(token.residual)}`;
  const last = Math.max(0, token.tensions.length - (traced ? 0 : 1));
  $("step").max = last;
  $("step").value = last;
  drawStep(last);
}

// With a trace, step 0 is the state before anything has moved it.
function drawStep(step) {
  const token = tokens[chosen];
  const at = traced ? step - 1 : step;
  $("stepname").textContent = token ? `${step} of ${$("step").max}` : "–";
  curve($("energy"), token?.energies ?? [], Math.max(0, at), stages);
  curve($("tension"), token?.tensions ?? [], Math.max(0, at), stages);
  if (traced && token) path($("path"), tokens, chosen, step);
  else $("path").replaceChildren();
  const rows = (token?.tops[step] ?? []).map(([name, share]) => {
    const row = document.createElement("li");
    for (const [kind, text] of [["name", JSON.stringify(name).slice(1, -1)], ["bar", ""],
      ["share", `${(100 * share).toFixed(1)} %`]]) {
      const cell = document.createElement("span");
      cell.className = kind;
      cell.textContent = text;
      if (kind === "bar") cell.style.setProperty("--share", share);
      row.append(cell);
    }
    return row;
  });
  $("tops").replaceChildren(...rows);
}

function play() {
  clearInterval(player);
  let step = 0;
  const most = Number($("step").max);
  const advance = () => {
    $("step").value = step;
    drawStep(step);
    if (step++ >= most) clearInterval(player);
  };
  advance();
  player = setInterval(advance, Math.max(60, Math.min(400, 2400 / (most + 1))));
}

function stop() {
  running?.abort();
}

$("ask").addEventListener("submit", settle);
$("stop").addEventListener("click", stop);
$("play").addEventListener("click", play);
$("step").addEventListener("input", () => {
  clearInterval(player);
  drawStep(Number($("step").value));
});
$("colour").addEventListener("change", paint);
$("key").addEventListener("change", () => {
  api.rememberKey($("key").value);
  introduce();
});
$("text").addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: tokens.length - 1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  clearInterval(player);
  choose(moves[event.key]);
  $(`token-${chosen}`)?.scrollIntoView({ block: "nearest" });
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
});

introduce();
drawStep(0);
