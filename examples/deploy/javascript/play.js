// Plays a bundle over PNG frames in Node and writes FRAME.labels (height * width bytes) beside each.
//
//   npm install --ignore-scripts onnxruntime-node pngjs
//   node play.js NAME.staged FRAME.png FRAME.png ...
"use strict";

const fs = require("fs");
const path = require("path");
const ort = require("onnxruntime-node");
const { PNG } = require("pngjs");
const { PlayedBundle, withoutAlpha } = require("./bundle.js");

async function main([folder, ...frames]) {
  const manifest = JSON.parse(fs.readFileSync(path.join(folder, "manifest.json"), "utf-8"));
  const open = (model) => ort.InferenceSession.create(path.join(folder, model));
  const bundle = await PlayedBundle.open(ort, manifest, open);
  for (const frame of frames) {
    const { data, height, width } = PNG.sync.read(fs.readFileSync(frame));
    fs.writeFileSync(frame.replace(/\.png$/, ".labels"), await bundle.step(withoutAlpha(data), height, width));
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
