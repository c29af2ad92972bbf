/**
 * Writes the pages of docs/ that come from the source. With `--check` it changes nothing and fails when one
 * of them is not up to date. To add a page, add its entry to `pages`.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Config } from '../src/daemon/config.ts'
import {
  DomainDefinition,
  formatReference,
  NetworkDefinition,
  NwfilterDefinition,
  PoolDefinition,
  SecretDefinition,
  VolumeDefinition,
} from '../src/model/index.ts'
import { formatCommandLinePage } from './command-line-page.ts'
import { formatSupportPage } from './support-page.ts'

interface Page {
  /** Where it is, from the root of the checkout. */
  readonly file: string
  content(): string | Promise<string>
}

const aboutConfiguration = `This page is generated from \`src/daemon/config.ts\`: run \`node tools/generate-docs.ts\` after a change there.

\`visord\` reads \`/etc/visor/visord.yaml\`, or for one user \`~/.config/visor/visord.yaml\`; \`--config\` and
\`VISOR_CONFIG\` name another. It is YAML, all of it may be left out, and flags win over it. What is wrong is told
with its line, at the start or by \`visord --check-config\`. \`packaging/visord.yaml\` is a sample with every default.

At SIGHUP (\`systemctl reload visord\`) \`logLevel\`, \`socketAccess\` and the token are read again; all else waits for a
restart, and the log names it. Browsers that logged in with the old token stay so until a restart.`

const pages: readonly Page[] = [
  {
    file: 'docs/reference/domain.md',
    content: () => formatReference(DomainDefinition, 'Domain definitions'),
  },
  {
    file: 'docs/reference/network.md',
    content: () => formatReference(NetworkDefinition, 'Network definitions'),
  },
  {
    file: 'docs/reference/nwfilter.md',
    content: () => formatReference(NwfilterDefinition, 'Filter definitions'),
  },
  {
    file: 'docs/reference/pool.md',
    content: () => formatReference(PoolDefinition, 'Pool definitions'),
  },
  {
    file: 'docs/reference/secret.md',
    content: () => formatReference(SecretDefinition, 'Secret definitions'),
  },
  {
    file: 'docs/reference/volume.md',
    content: () => formatReference(VolumeDefinition, 'Volume definitions'),
  },
  {
    file: 'docs/reference/visord.md',
    content: () => formatReference(Config, 'Configuration of visord', aboutConfiguration),
  },
  { file: 'docs/qemu-command-line.md', content: formatCommandLinePage },
  { file: 'docs/support.md', content: formatSupportPage },
]

const root = join(import.meta.dirname, '..')

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

const isCheck = process.argv.includes('--check')
for (const { file, content } of pages) {
  const path = join(root, file)
  const wanted = await content()
  if (read(path) === wanted) continue
  if (isCheck) {
    console.error(`${file} is not up to date: run 'node tools/generate-docs.ts'.`)
    process.exitCode = 1
  } else {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, wanted)
    console.log(`Wrote ${file}.`)
  }
}
