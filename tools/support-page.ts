/** docs/support.md: which driver can do what, as the drivers themselves answer. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Driver,
  memoryStore,
  type OperationName,
  operationList,
  silentLog,
  supportedOperations,
} from '../src/driver/index.ts'
import { driverSchemes, loadDriver } from '../src/drivers/index.ts'
import { VisorError } from '../src/model/index.ts'

/** Where drivers are opened that have no session. */
const places: Readonly<Record<string, string>> = { test: 'empty' }

const introduction = `# What each driver can do

Written by \`tools/generate-docs.ts\` from \`src/driver/operations.ts\` and the drivers themselves; not to be
edited. A call that has no mark fails with \`unsupported\`, and \`supports(connection, 'domains.save')\` tells
beforehand. Access says who may: \`read\` looks, \`write\` changes what there is, \`admin\` changes the host.
`

const epilogue = `
Images, pools, volumes, networks and jobs are visor's own and the same with every driver. A visord reached over REST can do what its
drivers can. Whether a driver can work on a host at all is what \`visor doctor\` tells.
`

/** The page. Each driver is opened in a directory of its own and asked; no hypervisor needs to be there. */
export async function formatSupportPage(): Promise<string> {
  const columns = await Promise.all(
    driverSchemes.map(async (scheme) => ({ scheme, supported: await askDriver(await loadDriver(scheme)) })),
  )
  const names = new Set(columns.flatMap(({ supported }) => [...supported]))
  // What stands in front of the drivers is no driver's.
  const drivers = new Set(operationList.filter(({ name }) => names.has(name)).map(({ part }) => part))
  const rows = operationList
    .filter(({ part }) => drivers.has(part))
    .map(({ name, operation }) => [
      `\`${name}\``,
      operation.doc,
      operation.access,
      ...columns.map(({ supported }) => (supported.has(name) ? 'yes' : '')),
    ])
  const heads = ['Operation', 'What it does', 'Access', ...columns.map(({ scheme }) => scheme)]
  const counts = columns.map(({ supported }) =>
    String(rows.filter(([name]) => supported.has(unquote(name))).length),
  )
  const table = [heads, heads.map(() => '---'), ...rows, ['', `of ${rows.length}`, '', ...counts]]
  return `${introduction}\n${table.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n${epilogue}`
}

function unquote(cell: string | undefined): OperationName {
  return (cell ?? '').replaceAll('`', '') as OperationName
}

/** By opening it; where its hypervisor is missing, by what it says. Fails when the two differ. */
async function askDriver(driver: Driver): Promise<ReadonlySet<OperationName>> {
  const { scheme, operations } = driver
  const opened = await openAndAsk(driver).catch((error: unknown) => {
    if (operations && error instanceof VisorError && error.code === 'unavailable') return operations
    throw error
  })
  const wrong =
    operations &&
    [...new Set([...operations, ...opened])].filter(
      (name) => operations.includes(name) !== opened.includes(name),
    )
  if (wrong?.length)
    throw new Error(`'operations' of the driver ${scheme} is wrong about ${wrong.join(', ')}.`)
  return new Set(opened)
}

async function openAndAsk(driver: Driver): Promise<readonly OperationName[]> {
  const uri = new URL(`${driver.scheme}:///${places[driver.scheme] ?? 'session'}`)
  const directory = await mkdtemp(join(tmpdir(), 'visor-support-'))
  try {
    const connection = await driver.open(uri, {
      stateDirectory: join(directory, 'state'),
      runtimeDirectory: join(directory, 'run'),
      store: memoryStore(),
      log: silentLog,
    })
    try {
      return supportedOperations(connection)
    } finally {
      await connection.close()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
