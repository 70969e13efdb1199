-- What a reset may do to the game.
local C, to_vector = bridge.commands, bridge.vector

function C.teleport(player, c)
  player:set_pos(to_vector(c.pos))
  player:set_look_horizontal(math.rad(c.yaw or 0)) -- here yaw grows to the left
  player:set_look_vertical(math.rad(c.pitch or 0))
end

function C.clear(player)
  for _, list in ipairs {"main", "craft", "craftpreview", "craftresult"} do player:get_inventory():set_list(list, {}) end
end

function C.give(player, c)
  local left = player:get_inventory():add_item("main", ItemStack(c.item))
  if not minetest.registered_items[ItemStack(c.item):get_name()] then error("no such item: " .. c.item) end
  if not left:is_empty() then error("no room for " .. c.item) end
end

function C.time(_, c) minetest.set_timeofday(c.time) end
function C.hp(player, c) player:set_hp(c.hp) end
function C.breath(player) player:set_breath(10) end
function C.release_clouds(player) player:set_clouds {speed = {x = 0, z = -2}} end -- as they drift by default

function C.seed(_, c)
  math.randomseed(c.seed)
  bridge.seed_animals(c.seed)
end

function C.remove_objects()
  for _, entity in pairs(minetest.luaentities) do if entity.object then entity.object:remove() end end
end

function C.set_node(_, c) minetest.set_node(to_vector(c.pos), {name = c.name}) end
function C.spawn(_, c) minetest.add_entity(to_vector(c.pos), c.name) end

-- Puts back every node that the player changed, for a reset without a fresh world.
function C.restore_nodes()
  for _, entry in pairs(bridge.before) do minetest.set_node(entry.pos, entry.node) end
  bridge.before = {}
end

function C.forget_events() bridge.events = {} end
function C.shut_down() minetest.request_shutdown() end
