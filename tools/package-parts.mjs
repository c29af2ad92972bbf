// What the built package needs beside its code: only the types that it gives out, and the licences of others.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

/** Removes the declarations in `folder` that its index.d.ts does not lead to: they are nobody's to rely on. */
export function removeUnusedTypes(folder) {
  const used = new Set()
  const waiting = [resolve(folder, 'index.d.ts')]
  for (let file = waiting.pop(); file; file = waiting.pop()) {
    if (used.has(file)) continue
    used.add(file)
    const imports = readFileSync(file, 'utf8').matchAll(/(?:from |import\()['"](\.[^'"]+)['"]/gu)
    for (const [, path] of imports) waiting.push(resolve(dirname(file), path.replace(/\.[jt]s$/u, '.d.ts')))
  }
  for (const name of readdirSync(folder, { recursive: true })) {
    const file = resolve(folder, name)
    if (statSync(file).isFile() && !used.has(file)) rmSync(file)
  }
}

/** Writes the licences of the packages whose files are among `inputs` of a bundle: most ask to go with the code. */
export function writeLicences(root, inputs, target) {
  const pattern = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/u
  const folders = new Set(inputs.map((input) => pattern.exec(input)?.[0]).filter(Boolean))
  const texts = [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
    const file = readdirSync(join(root, folder)).find((entry) => /^licen[cs]e/iu.test(entry))
    const text = file ? readFileSync(join(root, folder, file), 'utf8') : ''
    return `${name} ${version} (${license})\n\n${text.trim()}\n`
  })
  writeFileSync(target, `visor contains parts of these packages.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`)
}
