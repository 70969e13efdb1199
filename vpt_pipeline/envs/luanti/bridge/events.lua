-- What happens, as events of the step in which it happens.
local report, list = bridge.report, bridge.list

-- Nodes as they were before the player changed them, so that a fast reset can put them back.
bridge.before = {}
local function remember(pos, node)
  local key = minetest.hash_node_position(pos)
  if not bridge.before[key] then bridge.before[key] = {pos = vector.new(pos), node = node} end
end

minetest.register_on_dignode(function(pos, node)
  remember(pos, node)
  report {type = "dig", node = node.name, pos = list(pos)}
end)
minetest.register_on_placenode(function(pos, node, _, old)
  remember(pos, old)
  report {type = "place", node = node.name, pos = list(pos)}
end)
minetest.register_on_punchnode(function(pos, node) report {type = "punch", node = node.name, pos = list(pos)} end)
minetest.register_on_craft(function(stack) report {type = "craft", item = stack:get_name(), count = stack:get_count()} end)
minetest.register_on_item_eat(function(_, _, stack) report {type = "eat", item = stack:get_name()} end)
minetest.register_on_player_hpchange(function(_, change, reason)
  report {type = "hp", change = change, cause = reason.type}
end)
minetest.register_on_dieplayer(function() report {type = "die"} end)
