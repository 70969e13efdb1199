-- Finding good places to start in a new world: open ground with trees near, in woods and meadows. Used once a world.
local C, Q = bridge.commands, bridge.queries
local CHUNK, CHUNK_LOW = 80, -32 -- the map is generated in cubes of 80 nodes; one of them begins at -32
local WOODS = {deciduous_forest = true, coniferous_forest = true, grassland = true}
local TREES = {"default:tree", "default:aspen_tree", "default:pine_tree"}
local waiting = 0

local function is_gentle(x, z)
  local low, high = math.huge, -math.huge
  for dx = -40, 40, 20 do
    for dz = -40, 40, 20 do
      local level = minetest.get_spawn_level(x + dx, z + dz)
      if not level then return false end
      low, high = math.min(low, level), math.max(high, level)
    end
  end
  return low >= 3 and high - low <= 14
end

-- Middles of chunks whose surroundings are gentle woods or meadows, found without generating anything.
function C.find_regions(_, c)
  local found, size = {}, CHUNK
  for ring = 1, 24 do
    for i = -ring, ring do
      for _, cell in ipairs {{i, -ring}, {i, ring}, {-ring, i}, {ring, i}} do
        local x, z = cell[1] * size * 2 + 8, cell[2] * size * 2 + 8
        local level = minetest.get_spawn_level(x, z)
        if level then
          local biome = minetest.get_biome_name(minetest.get_biome_data({x = x, y = level, z = z}).biome)
          local apart = true
          for _, other in ipairs(found) do
            if math.abs(other[1] - x) < 320 and math.abs(other[3] - z) < 320 then apart = false end
          end
          if WOODS[biome] and apart and is_gentle(x, z) then found[#found + 1] = {x, level, z, biome} end
          if #found >= c.count then return found end
        end
      end
    end
  end
  return found
end

-- Generates the chunks around a region's middle; `Q.generating` says how many blocks are still to come.
function C.generate(_, c)
  local reach = c.chunks * CHUNK + CHUNK / 2
  waiting = waiting + 1
  local low = {x = c.pos[1] - reach, y = CHUNK_LOW, z = c.pos[3] - reach}
  local high = {x = c.pos[1] + reach - 1, y = CHUNK_LOW + CHUNK - 1, z = c.pos[3] + reach - 1}
  minetest.emerge_area(low, high, function(_, _, remaining) if remaining == 0 then waiting = waiting - 1 end end)
end

function Q.generating() return waiting end

local function can_stand(x, z)
  for y = CHUNK_LOW + CHUNK - 4, 2, -1 do
    local pos = {x = x, y = y, z = z}
    local name = minetest.get_node(pos).name
    if minetest.get_item_group(name, "soil") > 0 then
      local above = vector.offset(pos, 0, 1, 0)
      return minetest.get_node_light(above, 0.5) == 15 and above
    elseif name ~= "air" and minetest.registered_nodes[name].walkable then
      return false
    elseif minetest.get_item_group(name, "water") > 0 then
      return false
    end
  end
  return false
end

local function find(from, low, high, names)
  return minetest.find_nodes_in_area(vector.add(from, low), vector.add(from, high), names)
end

-- Sunlit cells on soil with room around and trees near, spread over a generated region's middle: at most c.count.
function C.find_starts(_, c)
  local found, step, reach = {}, 4, 56
  for dx = -reach, reach, step do
    for dz = -reach, reach, step do
      local cell = can_stand(c.pos[1] + dx, c.pos[3] + dz)
      if cell then
        local crowd = find(cell, vector.new(-3, 0, -3), vector.new(3, 3, 3), {"group:leaves", "group:tree"})
        local walls = find(cell, vector.new(-2, 0, -2), vector.new(2, 2, 2), {"group:crumbly", "group:cracky"})
        local trees = find(cell, vector.new(-16, -3, -16), vector.new(16, 5, 16), TREES)
        if #crowd == 0 and #walls == 0 and #trees >= 3 then found[#found + 1] = {cell.x, cell.y - 0.5, cell.z} end
      end
    end
  end
  local chosen, count = {}, math.min(#found, c.count)
  for i = 1, count do chosen[i] = found[math.floor((i - 0.5) * #found / count) + 1] end
  return chosen
end
