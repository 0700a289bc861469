// Opens Caffe files with Netron's reader and prints what Netron would show, as JSON.
// node netron_open.mjs FOLDER FILE...   FOLDER holds Netron's scripts and a package.json for modules.
import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';

const [folder, ...files] = process.argv.slice(2);
const load = (name) => import(`file://${resolve(folder)}/${name}.js`);
await load('base'); // teaches BigInt toNumber
const { ModelFactory } = await load('caffe');
const protobuf = await load('protobuf');
const types = new Map(
  JSON.parse(readFileSync(`${folder}/caffe-metadata.json`, 'utf8')).map((type) => [type.name, type]),
);
const metadata = {
  type: (name) => types.get(name),
  attribute: (type, name) => (types.get(type)?.attributes ?? []).find((a) => a.name === name),
};

class Context {
  constructor(path) {
    this.identifier = basename(path);
    this.bytes = new Uint8Array(readFileSync(path));
  }
  async tags() {
    return protobuf.TextReader.open(this.bytes).signature();
  }
  set(type) {
    this.type = type;
    return type;
  }
  async read(kind) {
    const reader = kind === 'protobuf.text' ? protobuf.TextReader : protobuf.BinaryReader;
    return reader.open(this.bytes);
  }
  require(name) {
    return load(name.slice(2));
  }
  metadata() {
    return metadata;
  }
}

const plain = (key, value) => (typeof value === 'bigint' ? Number(value) : value);
for (const file of files) {
  const context = new Context(file);
  const factory = new ModelFactory();
  if (!(await factory.match(context))) throw new Error(`${file}: Netron does not know it`);
  const model = await factory.open(context);
  const nodes = model.modules[0].nodes.flatMap((node) => [node, ...node.chain]);
  const shown = nodes.map((node) => ({
    name: node.name,
    type: node.type.name,
    attributes: Object.fromEntries(node.attributes.map((a) => [a.name, a.value])),
    blobs: node.inputs
      .flatMap((argument) => argument.value)
      .filter((value) => value.initializer)
      .map((value) => value.initializer.type.shape.dimensions),
  }));
  console.log(JSON.stringify({ format: model.format, name: model.name, nodes: shown }, plain));
}
