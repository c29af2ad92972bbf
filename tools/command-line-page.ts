/** The page about how the command lines of QEMU differ from libvirt's. */
import { goldenCases } from '../src/drivers/qemu/golden/cases.ts'
import { explanations } from '../src/drivers/qemu/golden/explanations.ts'

export function formatCommandLinePage(): string {
  const cases = goldenCases().map(({ name }) => `\`${name}\``)
  return `# QEMU's command line, compared with libvirt's

This page is generated from \`src/drivers/qemu/golden/explanations.ts\`: run \`node tools/generate-docs.ts\` after a
change there.

For each definition in \`test/fixtures/golden\` the arguments of QEMU are compared with those that libvirt 9 prints
(\`virsh domxml-to-native qemu-argv\`), option by option and field by field. Everything else than the following is
the same; a difference that is not listed fails a test. Definitions: ${cases.join(', ')}.

${explanations.map(({ what, why }) => `## ${what}\n\n${why}\n`).join('\n')}`
}
