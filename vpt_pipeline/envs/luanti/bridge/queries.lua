-- Questions that scripted players ask. None of them changes the game: a replay without them gives the same states.
local Q, list, to_vector = bridge.queries, bridge.list, bridge.vector

local function feet(player) return vector.round(vector.add(player:get_pos(), {x = 0, y = 0.3, z = 0})) end

local HALF_WIDTH, HALF_HEIGHT = 50, 34 -- degrees from the middle of the view, a little less than the window shows

-- Whether a player could see the near side of a node: nothing between, and within the view (or reach: one knows what is there).
local function in_sight(player, at, arm)
  local eye = player:get_pos()
  eye.y = eye.y + player:get_properties().eye_height
  if vector.distance(eye, at) > (arm or 0) then
    local away = vector.subtract(at, eye)
    local yaw = math.deg(math.atan2(-away.x, away.z) - player:get_look_horizontal())
    local pitch = math.deg(math.atan2(-away.y, math.hypot(away.x, away.z)) - player:get_look_vertical())
    if math.abs((yaw + 180) % 360 - 180) > HALF_WIDTH or math.abs(pitch) > HALF_HEIGHT then return false end
  end
  local function side(axis) return math.max(at[axis] - 0.51, math.min(at[axis] + 0.51, eye[axis])) end
  return (minetest.line_of_sight(eye, vector.new(side("x"), side("y"), side("z"))))
end

-- Nodes of the given names around the player, nearest first: {x, y, z, squared distance (height counts twice)}.
-- With in_sight, only those that the player can see, or reach with an arm of that many metres.
function Q.near(player, ask)
  local pos, radius, found = player:get_pos(), ask.radius or 24, {}
  local low = {x = pos.x - radius, y = pos.y - (ask.below or 4), z = pos.z - radius}
  local high = {x = pos.x + radius, y = pos.y + (ask.above or 6), z = pos.z + radius}
  for _, at in ipairs((minetest.find_nodes_in_area(low, high, ask.names))) do
    local away = (at.x - pos.x) ^ 2 + (at.z - pos.z) ^ 2 + 4 * (at.y - pos.y) ^ 2
    found[#found + 1] = {at.x, at.y, at.z, away}
  end
  table.sort(found, function(a, b)
    if a[4] ~= b[4] then return a[4] < b[4] end
    for i = 1, 3 do if a[i] ~= b[i] then return a[i] < b[i] end end
    return false
  end)
  local nearest = {}
  for _, node in ipairs(found) do
    if #nearest >= (ask.limit or 12) then break end
    if not ask.in_sight or in_sight(player, vector.new(node[1], node[2], node[3]), ask.in_sight) then
      nearest[#nearest + 1] = node
    end
  end
  return nearest
end

-- The name of a node.
function Q.node(_, ask) return minetest.get_node(to_vector(ask.pos)).name end

-- The names of many nodes.
function Q.nodes(_, ask)
  local names = {}
  for i, pos in ipairs(ask.positions) do names[i] = minetest.get_node(to_vector(pos)).name end
  return names
end

-- The highest node of a column that is not air: {y, name}, or nothing.
function Q.surface(_, ask)
  for y = ask.top or 60, ask.bottom or -5, -1 do
    local name = minetest.get_node({x = ask.x, y = y, z = ask.z}).name
    if name ~= "air" and name ~= "ignore" then return {y, name} end
  end
end

-- The node or object that a ray from the eye along the view meets: {kind, name, x, y, z}, or nothing.
function Q.pointed(player, ask)
  local eye = player:get_pos()
  eye.y = eye.y + player:get_properties().eye_height
  local far = vector.add(eye, vector.multiply(player:get_look_dir(), ask.range or 4))
  for thing in minetest.raycast(eye, far, true, false) do
    if thing.type == "node" then
      return {"node", minetest.get_node(thing.under).name, thing.under.x, thing.under.y, thing.under.z}
    elseif thing.ref ~= player then
      local entity, at = thing.ref:get_luaentity(), thing.ref:get_pos()
      return {"object", entity and entity.name or "", at.x, at.y, at.z}
    end
  end
end

local function as_lists(path)
  local lists = {}
  for i, pos in ipairs(path or {}) do lists[i] = list(pos) end
  return lists
end

local function walk(from, to, ask)
  return minetest.find_path(from, to, ask.radius or 12, ask.up or 1, ask.down or 3, "A*_noprefetch")
end

-- A walkable path to a cell: {{x, y, z}, ...}, empty when there is none.
function Q.path(player, ask) return as_lists(walk(feet(player), to_vector(ask.to), ask)) end

local function solid(pos)
  local definition = minetest.registered_nodes[minetest.get_node(pos).name]
  return definition == nil or definition.walkable
end

local AROUND = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}, {2, 0}, {-2, 0}, {0, 2}, {0, -2}}

-- The shortest walkable path to a cell beside a node where a player can stand.
function Q.path_beside(player, ask)
  local from, best = feet(player), nil
  for _, offset in ipairs(AROUND) do
    for dy = 1, -4, -1 do
      local cell = vector.new(ask.to[1] + offset[1], ask.to[2] + dy, ask.to[3] + offset[2])
      local head, ground = vector.offset(cell, 0, 1, 0), vector.offset(cell, 0, -1, 0)
      if not solid(cell) and not solid(head) and solid(ground) then
        local path = walk(from, cell, ask)
        if path and (not best or #path < #best) then best = path end
        break
      end
    end
    if best and #best < 4 then break end
  end
  return as_lists(best)
end
