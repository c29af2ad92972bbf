/**
 * Who may import whom: downwards only, and another folder only through its index. A folder missing from the
 * table fails.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { test } from 'node:test'

const source = resolve(import.meta.dirname, '../src')

/** The houses of src/ and what each may import. */
const mayImport: Record<string, readonly string[]> = {
  model: [],
  driver: ['model'],
  rest: ['model', 'driver'],
  host: ['model', 'driver'],
  storage: ['model', 'driver', 'host'],
  network: ['model', 'driver', 'host'],
  backup: ['model', 'driver', 'host', 'storage'],
  'drivers/qemu': ['model', 'driver', 'host', 'storage'],
  'drivers/v86': ['model', 'driver', 'host', 'storage'],
  'drivers/test': ['model', 'driver', 'host', 'storage'],
  drivers: ['model', 'driver', 'drivers/qemu', 'drivers/v86', 'drivers/test'],
  doctor: ['model', 'driver', 'host', 'drivers'],
  connect: ['model', 'driver', 'rest', 'host', 'network', 'storage', 'drivers'],
  'first-run': ['model', 'driver', 'host', 'connect'],
  // Migration: a daemon talks to those of other hosts as any user does.
  daemon: ['model', 'driver', 'rest', 'host', 'network', 'storage', 'backup', 'drivers', 'doctor', 'connect'],
  cli: ['model', 'driver', 'rest', 'host', 'doctor', 'connect'],
  // The library's entry.
  '.': ['model', 'driver', 'connect'],
}

/** Pure folders run anywhere: nothing of Node's. */
const pure = new Set(['model', 'driver', 'rest'])
/** What each pure folder may take from outside. */
const packages: Record<string, readonly string[]> = {
  model: ['saxes', 'yaml'],
  driver: [],
  rest: [],
}

interface Import {
  readonly file: string
  readonly target: string
}

const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.tsx?$/u.test(file))
  .map((file) => join(source, file))

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//gu, '')
  const pattern =
    /(?:^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*|^\s*import\s*|\bimport\s*\(\s*)['"]([^'"]+)['"]/gmu
  return [...text.matchAll(pattern)].map((match) => ({ file, target: match[1] ?? '' }))
}

function houseOf(path: string): string {
  const parts = relative(source, path).split(sep)
  if (parts.length === 1) return '.'
  if (parts[0] === 'drivers' && parts.length > 2) return `drivers/${parts[1]}`
  return parts[0] ?? ''
}

const isTest = (file: string) => /\.test\.tsx?$/u.test(file)
const imports = files.flatMap(importsOf)
const name = (path: string) => relative(source, path)

test('every folder of src is in the table', () => {
  const houses = new Set(files.map(houseOf))
  assert.deepEqual([...houses].filter((house) => !(house in mayImport)).sort(), [])
  assert.ok(imports.length > 100, `only ${imports.length} imports were found: the scan is broken`)
})

test('folders import downwards only, and others only through their index', () => {
  const faults: string[] = []
  for (const { file, target } of imports.filter(({ target: to }) => to.startsWith('.'))) {
    const [from, path] = [houseOf(file), resolve(dirname(file), target)]
    const to = houseOf(path)
    if (path !== source && !path.startsWith(source + sep)) {
      if (!isTest(file) && !target.endsWith('package.json'))
        faults.push(`${name(file)} leaves src: ${target}`)
    } else if (from !== to) {
      if (!mayImport[from]?.includes(to) && !isTest(file)) faults.push(`${name(file)} may not import ${to}`)
      const isIndex = path === join(source, to === '.' ? '' : to, 'index.ts')
      if (!isIndex && !isTest(file)) faults.push(`${name(file)} reaches into ${name(path)}`)
    }
  }
  assert.deepEqual(faults, [])
})

test('pure folders take nothing of Node, and only the packages named', () => {
  const faults = imports
    .filter(({ file, target }) => pure.has(houseOf(file)) && !isTest(file) && !target.startsWith('.'))
    .filter(({ file, target }) => {
      const [scope, rest] = target.split('/')
      const wanted = scope?.startsWith('@') ? `${scope}/${rest}` : (scope ?? '')
      return !packages[houseOf(file)]?.includes(wanted)
    })
    .map(({ file, target }) => `${name(file)} imports ${target}`)
  assert.deepEqual(faults, [])
})

test('there is no folder for odds and ends', () => {
  const bad = files.filter((file) =>
    /\/(utils?|common|helpers?|core|shared|misc|lib)\//u.test(file.slice(source.length)),
  )
  assert.deepEqual(bad.map(name), [])
})
