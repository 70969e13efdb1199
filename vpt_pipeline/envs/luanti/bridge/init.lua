-- The game's side of the lock-step: one JSON line of ground truth a server step, and requests read from a file.
-- Both files lie in the world folder, the only place where a mod may write.
bridge = {
  events = {},    -- of this step
  tick = 0,
  queries = {},   -- op -> function(player, request): looks, never changes
  commands = {},  -- op -> function(player, request): changes the world; sent by resets only
}

function bridge.report(event) bridge.events[#bridge.events + 1] = event end
function bridge.vector(list) return vector.new(list[1], list[2], list[3]) end
function bridge.list(v) return {v.x, v.y, v.z} end

local folder = minetest.get_modpath("bridge")
for _, part in ipairs {"events", "cues", "items", "animals", "queries", "commands", "survey"} do
  dofile(folder .. "/" .. part .. ".lua")
end

-- Nothing spreads, burns or melts by itself: those rolls would come from a random stream that threads share.
minetest.register_on_mods_loaded(function()
  for i = #minetest.registered_abms, 1, -1 do table.remove(minetest.registered_abms, i) end
  for i = #minetest.registered_lbms, 1, -1 do table.remove(minetest.registered_lbms, i) end
end)

minetest.send_join_message = function() end
minetest.send_leave_message = function() end
minetest.get_server_status = function() return "" end

minetest.register_on_joinplayer(function(player)
  player:hud_set_hotbar_itemcount(9)
  player:hud_set_flags {minimap = false}
  player:get_inventory():set_size("main", 32) -- as many as the inventory window shows
  player:set_clouds {speed = {x = 0, z = 0}} -- how many frames they are seen while the game loads depends on its threads
  local name = player:get_player_name()
  local privileges = minetest.get_player_privs(name)
  privileges.fast, privileges.interact = true, true
  minetest.set_player_privs(name, privileges)
end)

local world = minetest.get_worldpath()
local truth_file = assert(io.open(world .. "/truth.jsonl", "a"))
local request_file = assert(io.open(world .. "/requests.jsonl", "r"))

local function slots_of(player)
  local slots = {}
  for index, stack in ipairs(player:get_inventory():get_list("main")) do
    if not stack:is_empty() then slots[#slots + 1] = {index - 1, stack:get_name(), stack:get_count()} end
  end
  return slots
end

local function objects_near(pos)
  local objects = {}
  for _, object in ipairs(minetest.get_objects_inside_radius(pos, 24)) do
    local entity = object:get_luaentity()
    if entity then
      local item = entity.itemstring and ItemStack(entity.itemstring):get_name() or ""
      objects[#objects + 1] = {entity.name, item, bridge.list(object:get_pos())}
    end
  end
  return objects
end

local function answer_requests(player)
  local answers = {}
  request_file:seek("cur", 0) -- forgets the end of file that the last read met
  for line in request_file:lines() do
    local request = minetest.parse_json(line)
    local run = bridge.queries[request.op] or bridge.commands[request.op]
    local ok, result = pcall(run, player, request)
    answers[#answers + 1] = {request.id, ok, result}
  end
  return answers
end

minetest.register_globalstep(function(dtime)
  bridge.tick = bridge.tick + 1
  local player = minetest.get_connected_players()[1]
  if not player then return end
  bridge.show_cues(player)
  bridge.pick_up(player)
  local answers = answer_requests(player)
  local pos = player:get_pos()
  truth_file:write(minetest.write_json {
    tick = bridge.tick, pos = bridge.list(pos), vel = bridge.list(player:get_velocity()),
    yaw = math.deg(player:get_look_horizontal()), pitch = math.deg(player:get_look_vertical()),
    hp = player:get_hp(), wield = player:get_wield_index() - 1, item = player:get_wielded_item():get_name(),
    slots = slots_of(player), events = bridge.events, answers = answers, objects = objects_near(pos),
  }, "\n")
  truth_file:flush()
  bridge.events = {}
end)
