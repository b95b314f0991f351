// The other tasks: what TensorTab and Transformers.js get, and whether they agree on it.

const WORDS = ("the of and to in is that it was for on are as with his they at be this from have or by one had not but " +
  "what all were when we there can an your which their said if do will each about how up out them then she many some so " +
  "these would other into has more her two like him see time could no make than first been its who now people my made " +
  "over did down only way find use may water long little very after words called just where most know").split(" ");

// Texts of so many tokens, each with two of its own: each word is one in BERT's vocabulary. The same for everybody.
function texts(count, tokens) {
  let state = 1;
  const word = () => WORDS[(state = (48271 * state) % 2147483647) % WORDS.length];
  return Array.from({ length: count }, () => Array.from({ length: tokens - 2 }, word).join(" "));
}

const FILES = ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"];

const cycle = (list, count) => Array.from({ length: count }, (_, n) => list[n % list.length]);

// A task's inputs by name; `files` where the model is not one of the site's own.
export const tasks = ({ speech, images }) => ({
  "MiniLM": {
    task: "feature-extraction", model: "all-MiniLM-L6-v2",
    inputs: { "32 tokens": { texts: texts(1, 32) }, "32 x 128 tokens": { texts: texts(32, 128) } },
  },
  "Whisper": {
    task: "automatic-speech-recognition", model: "whisper-tiny.en", inputs: { "30 s of speech": { audio: speech } },
  },
  "CLIP": {
    task: "image-feature-extraction", model: "clip-vit-base-patch32", files: FILES,
    inputs: { "1 image": { images: cycle(images, 1) }, "16 images": { images: cycle(images, 16) } },
  },
  "EfficientNet": {
    task: "image-classification", model: "efficientnet-lite0", attention: false,
    inputs: { "1 image": { images: cycle(images, 1) }, "16 images": { images: cycle(images, 16) } },
  },
});

const dot = (a, b) => a.reduce((sum, value, n) => sum + value * b[n], 0);
const cosine = (a, b) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));

// Words of b that are not a's, over a's words: the word error rate.
function wordErrors(a, b) {
  const [left, right] = [a, b].map((text) => text.toLowerCase().replace(/[^\p{L}\p{N}' ]/gu, "").split(/\s+/));
  let row = Array.from(right, (_, n) => n + 1);
  row.unshift(0);
  left.forEach((word, i) => {
    const next = [i + 1];
    right.forEach((other, j) => next.push(Math.min(row[j + 1] + 1, next[j] + 1, row[j] + Number(word !== other))));
    row = next;
  });
  return row.at(-1) / left.length;
}

// How well a peer's result agrees with TensorTab's: the smallest cosine, the word error rate, or how many labels.
export function agreement(ours, theirs) {
  if (typeof ours === "string") return { word_error_rate: Number(wordErrors(ours, theirs).toPrecision(3)) };
  if (typeof ours[0] === "string") {
    return { same_labels: `${ours.filter((label, n) => label === theirs[n]).length} of ${ours.length}` };
  }
  return { least_cosine: Number(Math.min(...ours.map((vector, n) => cosine(vector, theirs[n]))).toFixed(6)) };
}
