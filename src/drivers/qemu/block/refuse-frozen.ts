/** What templates are based on stays as it is: their clones read it. */
import { VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'

/** Fails with `invalid-state` when one of the files, which are to be changed or removed, is below a template. */
export function refuseFrozenFiles(
  { frozen }: Pick<Context, 'frozen'>,
  files: readonly { readonly path: string }[],
): void {
  for (const { path } of files) {
    const template = frozen.get(path)
    if (template === undefined) continue
    throw new VisorError('invalid-state', `The template '${template}' is based on '${path}'.`, {
      object: { kind: 'template', name: template },
      remedy: `Remove the template first: 'visor template remove ${template}'; or copy what is below to the disk: 'visor block pull'.`,
    })
  }
}
