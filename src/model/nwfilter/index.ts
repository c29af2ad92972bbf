export {
  type AttributeKind,
  type FilterProtocol,
  protocolAttributes,
  protocolKey,
  variable,
} from './attributes.ts'
export { checkNwfilterDefinition, faultOf, maskBits, matchOf } from './check.ts'
export {
  type ChainPrefix,
  chainPrefix,
  chainPriorities,
  FilterParameter,
  type FilterRule,
  NwfilterDefinition,
  type NwfilterDefinitionInput,
  type RuleMatch,
} from './definition.ts'
export { formatNwfilterDefinition, parseNwfilterDefinition } from './documents.ts'
export { AllowInGroup, type GroupRule, groupProtocols, SecurityGroup } from './group.ts'
export { Nwfilter } from './nwfilter.ts'
